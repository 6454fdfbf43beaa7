"""The address at which the MLflow UI shows some runs side by side."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import quote

from mlflow.exceptions import MlflowException

from droplora_sweep.errors import SweepError
from droplora_sweep.redaction import redact

from . import values
from .client import connect, require_known_scheme
from .ui import MLFLOW_DATABASE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from mlflow import MlflowClient

    from droplora_sweep.records.trial import SweepRecord


def comparison_link(
    wanted: Iterable[tuple[SweepRecord, Sequence[str]]],
    *,
    storage: Path,
    uri: str | None,
    address: str,
) -> str:
    """The address of MLflow's comparison of trials, on exactly their runs.

    Args:
        wanted: Sweeps, and the ids of those of their trials that are compared.
        storage: Folder whose own store is asked where ``uri`` is None.
        uri: Tracking URI.
        address: Where the UI of that store is, ``http://127.0.0.1:5000``.

    Raises:
        SweepError: The store does not answer, or lacks a run.
    """
    require_known_scheme(uri)
    if uri is None and not (storage / MLFLOW_DATABASE).is_file():
        raise SweepError(f"{storage} has no {MLFLOW_DATABASE}: publish the sweeps with `sync`")
    client = connect(storage, uri)
    experiments: list[str] = []
    runs: list[str] = []
    try:
        for sweep, trial_ids in wanted:
            experiment = client.get_experiment_by_name(values.experiment_name(sweep))
            known = {} if experiment is None else _runs(client, experiment.experiment_id, sweep)
            lacking = [trial_id for trial_id in trial_ids if trial_id not in known]
            if experiment is None or lacking:
                what = ", ".join(lacking) or "its experiment"
                raise SweepError(f"MLflow lacks {what} of {sweep.name}: publish it with `sync`")
            experiments.append(experiment.experiment_id)
            runs += [known[trial_id] for trial_id in trial_ids]
    except MlflowException as error:
        first_line = str(error).strip().partition("\n")[0]
        raise SweepError(redact(f"MLflow does not answer: {first_line}")) from error
    return (
        f"{address.rstrip('/')}/#/compare-runs?runs={_list(runs)}&experiments={_list(experiments)}"
    )


def _runs(client: MlflowClient, experiment_id: str, sweep: SweepRecord) -> dict[str, str]:
    """Run ids of a sweep's trials; of several for one trial the first, as the publisher does."""
    found: dict[str, str] = {}
    token: str | None = ""
    while token is not None:
        page = client.search_runs(
            [experiment_id],
            f"tags.sweep_id = '{sweep.sweep_id}'",
            order_by=["attributes.start_time ASC"],
            page_token=token or None,
        )
        for run in page:
            found.setdefault(run.data.tags.get("trial_id", ""), run.info.run_id)
        token = page.token or None
    return found


def _list(texts: Iterable[str]) -> str:
    """A list as the UI's addresses have it: JSON, each text once, percent-encoded."""
    return quote(json.dumps(list(dict.fromkeys(texts)), separators=(",", ":")))
