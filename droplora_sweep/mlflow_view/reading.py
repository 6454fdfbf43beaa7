"""Trials as MLflow holds them, for a sweep that starts from them."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow.exceptions import MlflowException

from droplora_sweep.errors import SweepError
from droplora_sweep.records.layout import TRIAL

from .client import connect, find_experiment, require_known_scheme
from .ui import MLFLOW_DATABASE
from .values import COPIED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlflow import MlflowClient
    from mlflow.entities import Run


@dataclass(frozen=True)
class PublishedTrial:
    """A complete trial.

    Attributes:
        origin: ``first/t0007-3f2a91bc``.
        spec: The ``TrialSpec``, as JSON values.
        metrics: Its last ones.
        digests: Beginnings of the data's digests, by ``<benchmark>/<split>``.
    """

    origin: str
    spec: Mapping[str, Any]
    metrics: Mapping[str, float]
    digests: Mapping[str, str]


def published_trials(experiment: str, uri: str | None, storage: Path) -> list[PublishedTrial]:
    """The complete trials of an experiment that a sweep was published to.

    Args:
        experiment: Its name, ``<sweep>/<task>``.
        uri: Tracking server; the sqlite store under ``storage`` where None.
        storage: Folder that holds the sweeps.

    Raises:
        SweepError: The store cannot be opened, or has no such experiment.
    """
    require_known_scheme(uri)
    if uri is None and not (storage / MLFLOW_DATABASE).is_file():
        raise SweepError(f"must have {MLFLOW_DATABASE} in {storage}, or `mlflow_uri`")
    client = connect(storage, uri)
    try:
        found = find_experiment(client, storage, uri, experiment)
        if found is None:
            raise SweepError(f"must be an MLflow experiment, got {experiment}")
        trials: list[PublishedTrial] = []
        token: str | None = ""
        while token is not None:
            page = client.search_runs(
                [found.experiment_id],
                "tags.state = 'COMPLETE' AND tags.published = 'true'",
                order_by=["attributes.start_time ASC"],
                page_token=token or None,
            )
            trials += [_read(client, run) for run in page if _is_of_one_setting(run.data.tags)]
            token = page.token or None
    except (MlflowException, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise SweepError(f"cannot read MLflow experiment {experiment}: {reason}") from error
    return trials


def _is_of_one_setting(tags: Mapping[str, str]) -> bool:
    """Whether a run is a trial whose score is that of its params."""
    return "trial_id" in tags and not any(name.startswith(COPIED) for name in tags)


def _read(client: MlflowClient, run: Run) -> PublishedTrial:
    with tempfile.TemporaryDirectory(prefix="droplora-") as folder:
        path = client.download_artifacts(run.info.run_id, TRIAL, folder)
        spec = json.loads(Path(path).read_text())["spec"]
    tags = run.data.tags
    inputs = run.inputs.dataset_inputs if run.inputs is not None else []
    digests = {one.dataset.name: one.dataset.digest for one in inputs}
    origin = f"{tags.get('sweep', 'mlflow')}/{tags['trial_id']}"
    return PublishedTrial(origin, spec, run.data.metrics, digests)
