"""The ledger of a sweep, its durable truth, and MLflow as its published view.

What is exported here reads and writes the ledger and imports neither mlflow, optuna nor torch;
`droplora_sweep.tracking.mlflow_view` publishes it to MLflow.
"""

from .adapter_files import publish_adapter, verify_adapter
from .clones import QueuedClone
from .driver_lease import Holder, LeaseLostError
from .failpoints import failpoint
from .ledger import Ledger
from .ledger_writer import LedgerWriter
from .mailbox import Answer, Ask, Mailbox, Request, ask_driver, require_driver
from .records import (
    PastTrial,
    Reference,
    Report,
    Stage,
    StartingPoint,
    SweepOutcome,
    SweepRecord,
    TrialRecord,
    TrialState,
    trial_id,
)
from .results import read_results, read_scores, write_results
from .stop_request import is_stop_requested, request_stop
from .sweep_folders import has_sweep, require_new, sweep_names
from .ui import ui_command
from .ui_login import ui_login

__all__ = [
    "Answer",
    "Ask",
    "Holder",
    "LeaseLostError",
    "Ledger",
    "LedgerWriter",
    "Mailbox",
    "PastTrial",
    "QueuedClone",
    "Reference",
    "Report",
    "Request",
    "Stage",
    "StartingPoint",
    "SweepOutcome",
    "SweepRecord",
    "TrialRecord",
    "TrialState",
    "ask_driver",
    "failpoint",
    "has_sweep",
    "is_stop_requested",
    "publish_adapter",
    "read_results",
    "read_scores",
    "request_stop",
    "require_driver",
    "require_new",
    "sweep_names",
    "trial_id",
    "ui_command",
    "ui_login",
    "verify_adapter",
    "write_results",
]
