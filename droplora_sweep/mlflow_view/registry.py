"""Winners in MLflow's model registry: versions that load by themselves, each with an alias."""

from __future__ import annotations

import logging
import re
import tempfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow.exceptions import MlflowException
from mlflow.store.artifact.runs_artifact_repo import RunsArtifactRepository

from droplora_sweep.errors import SweepError
from droplora_sweep.ledger.files import verify_adapter
from droplora_sweep.models.resolving import resolve_model
from droplora_sweep.spec import TrialSpec
from droplora_sweep.spec.methods import method_of

from .client import all_runs, connect, find_experiment, first_line
from .publisher import publish_all

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlflow import MlflowClient

    from droplora_sweep.ledger.reader import Ledger
    from droplora_sweep.records.trial import TrialRecord

MODEL = "model"
"""Artifact folder of a run that a version points to."""
REQUIRED = ("torch", "transformers", "peft")


@dataclass(frozen=True)
class Registered:
    """A version of a registered model.

    Attributes:
        name: The registered model.
        version: Its version.
        alias: Points to the version.
        is_new: True where the version was made now.
    """

    name: str
    version: str
    alias: str
    is_new: bool

    @property
    def uri(self) -> str:
        """URI for ``mlflow.transformers.load_model``."""
        return f"models:/{self.name}@{self.alias}"


def alias_for(benchmark: str) -> str:
    """``best-<benchmark>``, with what an alias may not hold replaced.

    >>> alias_for("gsm8k"), alias_for("mt.bench")
    ('best-gsm8k', 'best-mt_bench')
    """
    return "best-" + re.sub(r"[^\w-]", "_", benchmark)


def register(
    ledger: Ledger,
    trial: TrialRecord,
    name: str,
    alias: str,
    uri: str | None,
    tags: Mapping[str, str],
) -> Registered:
    """Make a trial's adapter a version of a registered model, and let an alias point to it.

    May be repeated: a version of the same adapter is found, and its tags and alias are set again.
    The version holds the adapter and refers to the base model by its folder; where that lies
    elsewhere, ``load_model`` takes it as ``base_model_path``.

    Args:
        ledger: The trial's sweep; it is published first where the store lacks the trial.
        trial: Has an adapter.
        name: The registered model, made where it is missing.
        alias: Points to the version afterwards.
        uri: Tracking URI, of the registry too; None is the sqlite store of the ledger's storage.
        tags: Of the version, beside those that say which trial it is.

    Raises:
        InputError: The base model is gone.
        SweepError: The adapter's files are damaged, or MLflow refuses.
    """
    assert trial.adapter is not None, "a winner has an adapter"
    assert trial.adapter_digest is not None, "an adapter has a digest"
    verify_adapter(trial.adapter, trial.adapter_digest)
    client = connect(ledger.storage, uri)
    identity = {
        "sweep_id": ledger.record.sweep_id,
        "trial_id": trial.trial_id,
        "adapter_digest": trial.adapter_digest,
    }
    try:
        run_id = _run_of(client, ledger, trial, uri)
        found = _version_of(client, name, identity)
        version = found or _new_version(client, name, run_id, trial)
        for key, value in {**identity, **tags}.items():
            client.set_model_version_tag(name, version, key, value)
        client.set_registered_model_alias(name, alias, version)
    except MlflowException as error:
        problem = f"MLflow refuses to register {trial.trial_id}: {first_line(error)}"
        raise SweepError(f"{name}: {problem}") from error
    return Registered(name, version, alias, found is None)


def _run_of(client: MlflowClient, ledger: Ledger, trial: TrialRecord, uri: str | None) -> str:
    """The trial's run; publishes the sweep where there is none."""
    run_id = _find_run(client, ledger, trial, uri)
    if run_id is None:
        report = publish_all(ledger, uri, is_live=ledger.holder is not None)
        run_id = _find_run(client, ledger, trial, uri)
        if run_id is None:
            raise SweepError(f"MLflow lacks {trial.trial_id}: {report.error}")
    return run_id


def _find_run(
    client: MlflowClient, ledger: Ledger, trial: TrialRecord, uri: str | None
) -> str | None:
    record = ledger.record
    experiment = find_experiment(client, ledger.storage, uri, record.experiment)
    if experiment is None:
        return None
    wanted = f"tags.sweep_id = '{record.sweep_id}' and tags.trial_id = '{trial.trial_id}'"
    run = next(all_runs(client, experiment.experiment_id, wanted), None)
    return None if run is None else run.info.run_id


def _version_of(client: MlflowClient, name: str, identity: Mapping[str, str]) -> str | None:
    """The version that holds the same adapter, the newest if there are several."""
    versions = client.search_model_versions(f"name = '{name}'")
    same = [each for each in versions if identity.items() <= (each.tags or {}).items()]
    return str(max((int(each.version) for each in same), default=0) or "") or None


def _new_version(client: MlflowClient, name: str, run_id: str, trial: TrialRecord) -> str:
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    with tempfile.TemporaryDirectory(prefix="droplora-") as scratch:
        _save(Path(scratch) / MODEL, trial)
        client.log_artifacts(run_id, str(Path(scratch) / MODEL), MODEL)
    source = RunsArtifactRepository.get_underlying_uri(
        f"runs:/{run_id}/{MODEL}", tracking_uri=client.tracking_uri
    )
    return str(client.create_model_version(name, source, run_id).version)


def _save(folder: Path, trial: TrialRecord) -> None:
    """Write the trial's adapter as an MLflow model."""
    import mlflow.transformers

    # It tells, in many lines, what it does and what it could do otherwise.
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    mlflow.transformers.save_model(
        **_loaded(trial),
        path=str(folder),
        task="text-generation",
        pip_requirements=[f"{package}=={metadata.version(package)}" for package in REQUIRED],
    )


def _loaded(trial: TrialRecord) -> dict[str, Any]:
    """Arguments for ``save_model``: a whole model's folder, or the adapter on its base model.

    Without the base model's path MLflow would store a base of its own making, and the adapter
    would be loaded onto other weights.
    """
    if not method_of(trial.spec["adapter"]["method"]).has_rank:
        return {"transformers_model": str(trial.adapter)}
    from droplora_sweep.adapters.adapted import with_saved_adapter
    from droplora_sweep.models.loading import load_base_model, load_tokenizer

    spec = TrialSpec.model_validate(dict(trial.spec)).model
    plain = spec.model_copy(update={"quantization": "none"})
    base = str(resolve_model(spec))
    assert trial.adapter is not None, "registered trials have an adapter"
    adapted = with_saved_adapter(load_base_model(plain), trial.adapter)
    for config in adapted.peft_config.values():
        # PEFT looks there, and else on the Hub, for the size of the vocabulary.
        config.base_model_name_or_path = base
    return {
        "transformers_model": {"model": adapted, "tokenizer": load_tokenizer(spec)},
        "base_model_path": base,
    }
