"""MLflow as the published view of a ledger; the only package that imports mlflow."""

from .ui import set_environment

# MLflow reads some of its settings while it is imported, which modules beside this one do.
set_environment()
