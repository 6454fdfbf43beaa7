"""One page that says which pruning rate to use and how sure that is, and figures beside it.

Nothing here imports torch, ray or mlflow: a report is made on a laptop, from the ledger alone.
"""

from .contents.answers import answers
from .facts import Facts, gather_facts
from .headline import headline
from .making import facts_of, leave_report, try_to_write
from .next_step import next_step
from .page import Report, make_report
from .writing import PAGE, write_report

__all__ = [
    "PAGE",
    "Facts",
    "Report",
    "answers",
    "facts_of",
    "gather_facts",
    "headline",
    "leave_report",
    "make_report",
    "next_step",
    "try_to_write",
    "write_report",
]
