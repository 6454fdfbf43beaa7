"""One page that says which pruning rate to use and how sure that is, and figures beside it.

Nothing here imports torch, ray or mlflow: a report is made on a laptop, from the ledger alone.
"""

from .facts import Facts, gather_facts
from .making import facts_of, leave_report, try_to_write
from .page import Report, make_report
from .writing import PAGE, write_report

__all__ = [
    "PAGE",
    "Facts",
    "Report",
    "facts_of",
    "gather_facts",
    "leave_report",
    "make_report",
    "try_to_write",
    "write_report",
]
