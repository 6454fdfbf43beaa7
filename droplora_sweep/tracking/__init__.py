"""The ledger of a sweep, its durable truth, and MLflow as its published view.

What is exported here reads and writes the ledger and imports neither mlflow, optuna nor torch;
`droplora_sweep.tracking.mlflow_view` publishes it to MLflow.
"""

from .adapter_files import publish_adapter, verify_adapter
from .layout import sweep_names
from .ledger import Ledger
from .records import (
    Report,
    SweepOutcome,
    SweepRecord,
    TrialRecord,
    TrialState,
    trial_id,
)
from .results import read_results, read_scores, write_results
from .ui import ui_command
from .ui_login import ui_login

__all__ = [
    "Ledger",
    "Report",
    "SweepOutcome",
    "SweepRecord",
    "TrialRecord",
    "TrialState",
    "publish_adapter",
    "read_results",
    "read_scores",
    "sweep_names",
    "trial_id",
    "ui_command",
    "ui_login",
    "verify_adapter",
    "write_results",
]
