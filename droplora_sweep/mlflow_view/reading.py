"""Trials and adapters as MLflow holds them, and the address that shows runs side by side."""

from __future__ import annotations

import contextlib
import json
import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import quote

from mlflow.exceptions import MlflowException

from droplora_sweep.errors import SweepError
from droplora_sweep.records.layout import TRIAL
from droplora_sweep.records.trial import EarlierTrial

from .client import all_runs, connect, find_experiment, first_line
from .saved_views import save_views
from .stored_views import links_among
from .ui import MLFLOW_DATABASE
from .values import COPIED
from .views import MOST_RUNS, comparison_view
from .views import address as view_address

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from mlflow import MlflowClient
    from mlflow.entities import Run

    from droplora_sweep.records.trial import SweepRecord


ARTIFACT = "adapter"


def require_contained(run_id: str, paths: Iterable[str]) -> None:
    """Refuse names of a server that would be written outside of the folder they are meant for.

    Raises:
        SweepError: Naming the first.
    """
    for path in paths:
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            raise SweepError(f"--adapter: run {run_id} must have plain file names, got {path!r}")


@contextlib.contextmanager
def fetched_adapter(run_id: str, uri: str | None, storage: Path) -> Iterator[Path]:
    """A temporary copy of a run's ``adapter`` artifact.

    Args:
        run_id: 32 hex digits.
        uri: Tracking server; the sqlite store under ``storage`` where None.
        storage: Folder that holds the sweeps.

    Raises:
        SweepError: The store cannot be opened, or has no such run with an adapter.
    """
    if uri is None and not (storage / MLFLOW_DATABASE).is_file():
        raise SweepError(f"--storage: must hold {MLFLOW_DATABASE} for an MLflow run, got {storage}")
    client = connect(storage, uri)
    with tempfile.TemporaryDirectory(prefix="droplora-") as folder:
        try:
            client.get_run(run_id)
            found = [item.path for item in client.list_artifacts(run_id, ARTIFACT)]
            if not found:
                raise SweepError(f"--adapter: run {run_id} must have an adapter, got none")
            require_contained(run_id, found)
            path = client.download_artifacts(run_id, ARTIFACT, folder)
        except MlflowException as error:
            problem = f"cannot read run {run_id}: {first_line(error)}"
            raise SweepError(f"--adapter: {problem}") from error
        yield Path(path)


def published_trials(experiment: str, uri: str | None, storage: Path) -> list[EarlierTrial]:
    """The complete trials of an experiment that a sweep was published to.

    Args:
        experiment: Its name.
        uri: Tracking server; the sqlite store under ``storage`` where None.
        storage: Folder that holds the sweeps.

    Raises:
        SweepError: The store cannot be opened, or has no such experiment.
    """
    if uri is None and not (storage / MLFLOW_DATABASE).is_file():
        raise SweepError(f"must have {MLFLOW_DATABASE} in {storage}, or `mlflow_uri`")
    client = connect(storage, uri)
    try:
        found = find_experiment(client, storage, uri, experiment)
        if found is None:
            raise SweepError(f"must be an MLflow experiment, got {experiment}")
        wanted = "tags.state = 'COMPLETE' AND tags.published = 'true'"
        runs = all_runs(client, found.experiment_id, wanted)
        return [_read(client, run) for run in runs if _is_of_one_setting(run.data.tags)]
    except (MlflowException, OSError, ValueError) as error:
        problem = f"cannot read MLflow experiment {experiment}: {first_line(error)}"
        raise SweepError(problem) from error


def _is_of_one_setting(tags: Mapping[str, str]) -> bool:
    """Return whether a run is a trial whose score is that of its params."""
    return "trial_id" in tags and not any(name.startswith(COPIED) for name in tags)


def _read(client: MlflowClient, run: Run) -> EarlierTrial:
    with tempfile.TemporaryDirectory(prefix="droplora-") as folder:
        path = client.download_artifacts(run.info.run_id, TRIAL, folder)
        spec = json.loads(Path(path).read_text())["spec"]
    tags = run.data.tags
    inputs = run.inputs.dataset_inputs if run.inputs is not None else []
    digests = {one.dataset.name: one.dataset.digest for one in inputs}
    origin = f"{tags.get('sweep', 'mlflow')}/{tags['trial_id']}"
    return EarlierTrial(origin=origin, spec=spec, metrics=run.data.metrics, digests=digests)


def published_links(sweep: SweepRecord, uri: str | None, storage: Path) -> dict[str, str]:
    """Return the addresses of a sweep's views by their names; none where the store has none.

    Args:
        sweep: A sweep that is published there.
        uri: Tracking server; the sqlite store under ``storage`` where None.
        storage: Folder that holds the sweeps.
    """
    # An extra: the sweep is published, whatever the store says now.
    with contextlib.suppress(MlflowException, SweepError):
        found = connect(storage, uri).get_experiment_by_name(sweep.experiment)
        if found is not None:
            return links_among(found.experiment_id, found.tags, sweep)
    return {}


def comparison_link(
    wanted: Sequence[tuple[SweepRecord, Sequence[str]]],
    *,
    storage: Path,
    uri: str | None,
    address: str,
) -> str:
    """The address at which MLflow shows sweeps side by side, or else the trials compared.

    It shows all their trials, as a saved view, unless they are more than one view has room for, or
    the store takes none.

    Args:
        wanted: Sweeps, and the ids of those of their trials that are compared.
        storage: Folder whose own store is asked where ``uri`` is None.
        uri: Tracking URI.
        address: Address of that store's UI, ``http://127.0.0.1:5000``.

    Raises:
        SweepError: The store does not answer, or lacks a run.
    """
    if uri is None and not (storage / MLFLOW_DATABASE).is_file():
        raise SweepError(f"{storage} has no {MLFLOW_DATABASE}: publish the sweeps with `sync`")
    client = connect(storage, uri)
    experiments: dict[str, None] = {}
    compared: list[str] = []
    trials: list[str] = []
    try:
        for sweep, trial_ids in wanted:
            experiment = client.get_experiment_by_name(sweep.experiment)
            known = {} if experiment is None else _runs(client, experiment.experiment_id, sweep)
            lacking = [trial_id for trial_id in trial_ids if trial_id not in known]
            if experiment is None or lacking:
                what = ", ".join(lacking) or "its experiment"
                raise SweepError(f"MLflow lacks {what} of {sweep.name}: publish it with `sync`")
            experiments[experiment.experiment_id] = None
            compared += [known[trial_id] for trial_id in trial_ids]
            trials += [run_id for trial_id, run_id in known.items() if trial_id]
        if len(compared) <= MOST_RUNS:
            shown = trials if len(trials) <= MOST_RUNS else compared
            view = comparison_view([sweep for sweep, _ in wanted], shown)
            # MLflow reads the one of an experiment that it puts first.
            if all(view.key in save_views(client, each, [view]) for each in experiments):
                return f"{address.rstrip('/')}/{view_address(view.key, *experiments, charts=True)}"
    except MlflowException as error:
        raise SweepError(f"MLflow does not answer: {first_line(error)}") from error
    runs = f"runs={_list(compared)}&experiments={_list(experiments)}"
    return f"{address.rstrip('/')}/#/compare-runs?{runs}"


def _runs(client: MlflowClient, experiment_id: str, sweep: SweepRecord) -> dict[str, str]:
    """Run ids of a sweep's trials; of several for one trial the first, as the publisher does."""
    found: dict[str, str] = {}
    for run in all_runs(client, experiment_id, f"tags.sweep_id = '{sweep.sweep_id}'"):
        found.setdefault(run.data.tags.get("trial_id", ""), run.info.run_id)
    return found


def _list(texts: Iterable[str]) -> str:
    """A list as the UI's addresses have it: JSON, each text once, percent-encoded."""
    return quote(json.dumps(list(dict.fromkeys(texts)), separators=(",", ":")))
