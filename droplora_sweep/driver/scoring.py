"""Scoring an adapter, a whole model or a base model as it is, outside a sweep."""

from __future__ import annotations

import contextlib
import json
import re
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from peft import PeftModel

from droplora_sweep.adapters.adapted import unloaded
from droplora_sweep.adapters.export import CONFIG_FILE, require_safetensors
from droplora_sweep.errors import SweepError
from droplora_sweep.evaluation import evaluate, score
from droplora_sweep.files import disk_faults_named, replace_file
from droplora_sweep.models import load_base_model, load_tokenizer
from droplora_sweep.tasks import load_task
from droplora_sweep.tracking import write_results

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transformers import PreTrainedModel

    from droplora_sweep.evaluation import ExampleResult
    from droplora_sweep.spec import SweepSpec, TrialSpec

Split = Literal["validation", "test"]

_RUN_ID = re.compile(r"[0-9a-f]{32}")


class Scorer:
    """Scores plain adapters on one resident base model, as their users load them.

    Args:
        spec: Names base model, task and how to evaluate.

    Raises:
        InputError: The model or the task's data is not there.
    """

    def __init__(self, spec: TrialSpec) -> None:
        self._task = load_task(spec.task)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._base: PreTrainedModel = load_base_model(spec.model, device)
        self._tokenizer = load_tokenizer(spec.model)
        self._evaluation = spec.evaluation

    def __call__(self, adapter: Path | None, split: Split = "validation") -> list[ExampleResult]:
        """Every example's result.

        Args:
            adapter: Its folder; None scores the base model.
            split: Which examples.
        """
        with self._adapted(adapter) as model:
            return evaluate(model, self._tokenizer, self._task, self._evaluation, split=split)

    @contextlib.contextmanager
    def _adapted(self, adapter: Path | None) -> Iterator[torch.nn.Module]:
        if adapter is None:
            yield self._base
            return
        with warnings.catch_warnings():
            # That PEFT calls what transformers deprecates is nothing to tell a user.
            warnings.simplefilter("ignore", FutureWarning)
            # In the base's precision, as it was scored while it was trained.
            adapted = PeftModel.from_pretrained(self._base, adapter, autocast_adapter_dtype=False)
        try:
            yield adapted
        finally:
            unloaded(adapted)


@dataclass(frozen=True)
class Scored:
    """What one scoring gave.

    Attributes:
        what: The adapter, or ``base model``.
        split: Which examples.
        scores: Accuracy by benchmark, and ``mean``; fractions.
        results: Every example's result.
    """

    what: str
    split: str
    scores: dict[str, float]
    results: list[ExampleResult] = field(repr=False)

    def write(self, folder: Path) -> None:
        """Write ``results.parquet``, as trials have it, and ``scores.json``.

        Raises:
            SweepError: The folder cannot be written.
        """
        with disk_faults_named(folder):
            folder.mkdir(parents=True, exist_ok=True)
            write_results(folder / "results.parquet", self.results)
            content = {"scored": self.what, "split": self.split, "scores": self.scores}
            replace_file(folder / "scores.json", (json.dumps(content, indent=2) + "\n").encode())


def score_outside_a_sweep(
    sweep: SweepSpec, adapter: str | None, split: Split, storage: Path | None
) -> Scored:
    """Score what a user names on a sweep file's task.

    Args:
        sweep: Names base model, task and how to evaluate.
        adapter: A folder with an adapter or a whole model, or the id of an MLflow run; None is
            the base model itself.
        split: Which examples.
        storage: Where an MLflow run is; the sweep's where None.

    Raises:
        InputError: The model or the task's data is not there.
        SweepError: The adapter is not there.
    """
    if adapter is None:
        results = Scorer(sweep.trial)(None, split)
    else:
        where = storage or Path(sweep.storage)
        with adapter_folder(adapter, sweep.tracking.mlflow_uri, where) as folder:
            if is_whole_model(folder):
                model = sweep.model.model_copy(update={"path": str(folder), "revision": None})
                trial = sweep.trial.model_copy(update={"model": model})
                results = Scorer(trial)(None, split)
            else:
                results = Scorer(sweep.trial)(folder, split)
    return Scored(adapter or "base model", split, score(results), results)


@contextlib.contextmanager
def adapter_folder(name: str, mlflow_uri: str | None, storage: Path) -> Iterator[Path]:
    """The folder that a user means by a path or by the id of an MLflow run.

    Args:
        name: An adapter's or a model's folder, or 32 hex digits.
        mlflow_uri: Tracking server of the run; the store under ``storage`` where None.
        storage: Folder that holds the sweeps.

    Raises:
        SweepError: There is no such folder, or no such run with an adapter.
    """
    path = Path(name)
    if path.is_dir():
        yield path
    elif _RUN_ID.fullmatch(name):
        from droplora_sweep.tracking.mlflow_view import fetched_adapter

        with fetched_adapter(name, mlflow_uri, storage) as folder:
            yield folder
    else:
        raise SweepError(f"--adapter: must be a folder or the id of an MLflow run, got {name}")


def is_whole_model(folder: Path) -> bool:
    """Whether the folder holds a model of its own rather than an adapter.

    Raises:
        SweepError: It holds neither, or its weights are not in safetensors files.
    """
    if (folder / CONFIG_FILE).is_file():
        require_safetensors(folder)
        return False
    if (folder / "config.json").is_file():
        return True
    raise SweepError(f"{folder}: must hold {CONFIG_FILE} (an adapter) or config.json (a model)")
