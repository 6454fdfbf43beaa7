"""One page that says which pruning rate to use and how sure that is, and figures beside it.

Nothing here imports torch, ray or mlflow: a report is made on a laptop, from the ledger alone.
"""

from .facts import Facts, gather_facts
from .page import Report, make_report
from .writing import PAGE, write_report

__all__ = ["PAGE", "Facts", "Report", "gather_facts", "make_report", "write_report"]
