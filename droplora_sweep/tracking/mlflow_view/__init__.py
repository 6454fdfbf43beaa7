"""MLflow as the published view of a ledger; the only package that imports mlflow."""

from .environment import set_environment

# MLflow reads some of its settings while it is imported.
set_environment()

from .fetching import fetched_adapter  # noqa: E402
from .links import comparison_link  # noqa: E402
from .publisher import MlflowPublisher, PublishReport, publish_all  # noqa: E402
from .reading import PublishedTrial, published_trials  # noqa: E402

__all__ = [
    "MlflowPublisher",
    "PublishReport",
    "PublishedTrial",
    "comparison_link",
    "fetched_adapter",
    "publish_all",
    "published_trials",
]
