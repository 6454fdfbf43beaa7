"""Scores of an adapter, a whole model or a base model, outside a sweep."""

from __future__ import annotations

import contextlib
import json
import math
import re
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import torch

from droplora_sweep.adapters.adapted import saved_adapter
from droplora_sweep.adapters.export import CONFIG_FILE, require_safetensors
from droplora_sweep.errors import SweepError
from droplora_sweep.evaluation.context import model_context, prompt_lengths
from droplora_sweep.evaluation.evaluator import evaluate
from droplora_sweep.evaluation.held_out import forgetting_metrics, read_held_out_text
from droplora_sweep.evaluation.perplexity import text_loss
from droplora_sweep.evaluation.reported import reported_metrics
from droplora_sweep.evaluation.results import agreement, result_metrics, score
from droplora_sweep.files import disk_faults_named, replace_file
from droplora_sweep.ledger.files import write_results
from droplora_sweep.models.loading import load_base_model, load_tokenizer
from droplora_sweep.records.layout import RESULTS
from droplora_sweep.storage.mirror import local_storage
from droplora_sweep.tasks.loading import load_task
from droplora_sweep.training.device import gpu

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from transformers import PreTrainedModel

    from droplora_sweep.evaluation.results import Agreement, ExampleResult
    from droplora_sweep.spec import SweepSpec, TrialSpec
    from droplora_sweep.spec.evaluation import EvaluationSpec
    from droplora_sweep.tasks.task import Task

Split = Literal["validation", "test"]

_RUN_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Scores of a model, with what else is measured of it.

    Attributes:
        results: Every example's result.
        perplexity: Of the held-out text, where the spec has one: ``perplexity/before``, ``/after``
            and ``/ratio`` of an adapter, as trials report them; ``perplexity`` of a model as it is.
        num_long: Prompts that did not fit into the context, by benchmark.
    """

    results: list[ExampleResult]
    perplexity: dict[str, float]
    num_long: dict[str, int]


class Scorer(Protocol):
    """Scores adapters on one base model that stays loaded, in this process or on a cluster."""

    @property
    def task(self) -> Task:
        """The task, as it is loaded in this process."""
        ...

    def __call__(self, adapter: Path | None, split: Split = "validation") -> list[ExampleResult]:
        """Return every example's result.

        Args:
            adapter: Folder of an adapter; None scores the base model.
            split: Split of the examples.
        """
        ...

    def measured(self, adapter: Path | None, split: Split) -> Measured:
        """Return the results and what else is measured."""
        ...

    def generated_choices(self, adapter: Path | None, split: Split) -> list[ExampleResult]:
        """Results of the choice benchmarks by decoding, read with the ``paper`` protocol."""
        ...


MakeScorer: TypeAlias = "Callable[[TrialSpec], AbstractContextManager[Scorer]]"


class AdapterScorer:
    """Scores plain adapters on one base model that stays loaded, as their users load them.

    Args:
        spec: Trial with the base model, the task and the evaluation.
        on_gpu: Computes on the first visible GPU.

    Raises:
        InputError: The model or the task's data is not there, or torch cannot use the GPU.
    """

    def __init__(self, spec: TrialSpec, *, on_gpu: bool) -> None:
        device = gpu(0) if on_gpu else torch.device("cpu")
        self.task = load_task(spec.task)
        self._base: PreTrainedModel = load_base_model(spec.model, device)
        self._tokenizer = load_tokenizer(spec.model)
        self._evaluation = spec.evaluation
        path = spec.evaluation.held_out_text
        self._held_out = None if path is None else read_held_out_text(path).text

    def __call__(
        self,
        adapter: Path | None,
        split: Split = "validation",
    ) -> list[ExampleResult]:
        """Return every example's result.

        Args:
            adapter: Folder of an adapter; None scores the base model.
            split: Split of the examples.
        """
        with self._adapted(adapter) as model:
            return evaluate(model, self._tokenizer, self.task, self._evaluation, split=split)

    def measured(self, adapter: Path | None, split: Split) -> Measured:
        """Return the results and what else is measured."""
        # Before anything is decoded: whether there is room for the prompts.
        context = model_context(self._base)
        num_long = prompt_lengths(
            self.task, self._tokenizer, self._evaluation, context, split=split
        ).num_long
        return Measured(
            results=self(adapter, split), perplexity=self._perplexity(adapter), num_long=num_long
        )

    def generated_choices(self, adapter: Path | None, split: Split) -> list[ExampleResult]:
        """Results of the choice benchmarks by decoding, read with the ``paper`` protocol."""
        task, evaluation = by_generation(self.task, self._evaluation)
        with self._adapted(adapter) as model:
            return evaluate(model, self._tokenizer, task, evaluation, split=split)

    def _perplexity(self, adapter: Path | None) -> dict[str, float]:
        if self._held_out is None:
            return {}
        base = text_loss(self._base, self._tokenizer, self._held_out).perplexity
        if adapter is None:
            return {"perplexity": base}
        with self._adapted(adapter) as model:
            after = text_loss(model, self._tokenizer, self._held_out).perplexity
        return forgetting_metrics(base, after)

    @contextlib.contextmanager
    def _adapted(self, adapter: Path | None) -> Iterator[torch.nn.Module]:
        if adapter is None:
            yield self._base
            return
        # In the base's precision, as it was scored while it was trained.
        with saved_adapter(self._base, adapter) as adapted:
            yield adapted


def by_generation(task: Task, evaluation: EvaluationSpec) -> tuple[Task, EvaluationSpec]:
    """Return the choice benchmarks, and how they are decoded for the ``paper`` protocol."""
    update = {"choice": "generate", "protocol": "paper", "likelihood": False}
    choices = {one.name for one in task.benchmarks if one.scorer.closed_answers}
    return task.only(choices), evaluation.model_copy(update=update)


@contextlib.contextmanager
def scorer_here(spec: TrialSpec, *, on_gpu: bool) -> Iterator[Scorer]:
    """Yield an `AdapterScorer`; the arguments are its."""
    yield AdapterScorer(spec, on_gpu=on_gpu)


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Result of one scoring.

    Attributes:
        what: The adapter, or ``base model``.
        split: Split of the examples.
        scores: Accuracy by benchmark, and ``mean``; fractions.
        metrics: All of ``result_metrics``.
        results: Every example's result.
        protocol: Protocol that responses were read by.
        perplexity: See `Measured`.
        num_long: See `Measured`.
        generated: Results of the choice benchmarks by decoding with the ``paper`` protocol, where
            they were asked for.
    """

    what: str
    split: str
    scores: dict[str, float]
    metrics: dict[str, float]
    results: list[ExampleResult] = field(repr=False)
    protocol: str
    perplexity: dict[str, float]
    num_long: dict[str, int]
    generated: list[ExampleResult] | None = field(default=None, repr=False)

    def agreements(self) -> dict[str, Agreement]:
        """Compare the choices that were scored with those that were generated."""
        return agreement(self.results, self.generated or [])

    def write(self, folder: Path) -> None:
        """Write ``results.parquet``, as trials have it, and ``scores.json``.

        Raises:
            SweepError: The folder cannot be written.
        """
        with disk_faults_named(folder):
            folder.mkdir(parents=True, exist_ok=True)
            write_results(folder / RESULTS, self.results)
            content: dict[str, Any] = {
                "scored": self.what,
                "split": self.split,
                "protocol": self.protocol,
                "scores": {name: _known(score) for name, score in self.scores.items()},
                "metrics": {name: _known(value) for name, value in self.metrics.items()},
            }
            if self.perplexity:
                content["perplexity"] = {
                    name: _known(value) for name, value in self.perplexity.items()
                }
            if self.generated is not None:
                content["agreement"] = {
                    name: asdict(one) for name, one in self.agreements().items()
                }
            replace_file(folder / "scores.json", (json.dumps(content, indent=2) + "\n").encode())


def score_outside_a_sweep(
    sweep: SweepSpec,
    adapter: str | None,
    split: Split,
    storage: Path | None,
    *,
    make_scorer: MakeScorer,
    compare_generation: bool = False,
) -> Scored:
    """Score an adapter or a model on a sweep file's task.

    Args:
        sweep: Sweep with the base model, the task and the evaluation.
        adapter: A folder with an adapter or a whole model, or the id of an MLflow run; None is
            the base model itself.
        split: Split of the examples.
        storage: Storage of an MLflow run; the sweep's where None.
        make_scorer: Loads a trial's base model, here or on a cluster.
        compare_generation: Decodes the choice benchmarks too.

    Raises:
        InputError: The model or the task's data is not there, or torch cannot use the GPU that the
            file's workers have.
        SweepError: The adapter is not there.
    """
    score_with = partial(
        _scored,
        split=split,
        make_scorer=make_scorer,
        compare_generation=compare_generation,
    )
    if adapter is None:
        return score_with(sweep.trial, None, "base model")
    where = storage or local_storage(sweep.storage)
    with adapter_folder(adapter, sweep.tracking.mlflow_uri, where) as folder:
        if is_whole_model(folder):
            model = sweep.model.model_copy(update={"path": str(folder.resolve()), "revision": None})
            trial = sweep.trial.model_copy(update={"model": model})
            return score_with(trial, None, adapter)
        return score_with(sweep.trial, folder, adapter)


def _scored(
    trial: TrialSpec,
    folder: Path | None,
    what: str,
    *,
    split: Split,
    make_scorer: MakeScorer,
    compare_generation: bool,
) -> Scored:
    with make_scorer(trial) as scorer:
        found = scorer.measured(folder, split)
        generated = scorer.generated_choices(folder, split) if compare_generation else None
    results = found.results
    metrics = result_metrics(results, trial.evaluation.sampling)
    return Scored(
        what=what,
        split=split,
        scores=score(results),
        metrics={**metrics, **reported_metrics(scorer.task, results)},
        results=results,
        protocol=trial.evaluation.protocol,
        perplexity=found.perplexity,
        num_long=found.num_long,
        generated=generated,
    )


def _known(value: float) -> float | None:
    """Return None for NaN and infinities, which JSON lacks."""
    return value if math.isfinite(value) else None


@contextlib.contextmanager
def adapter_folder(name: str, mlflow_uri: str | None, storage: Path) -> Iterator[Path]:
    """Yield the folder that a user means by a path or by the id of an MLflow run.

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
        from droplora_sweep.mlflow_view.reading import fetched_adapter

        with fetched_adapter(name, mlflow_uri, storage) as folder:
            yield folder
    else:
        raise SweepError(f"--adapter: must be a folder or the id of an MLflow run, got {name}")


def is_whole_model(folder: Path) -> bool:
    """Return True for a folder with a model of its own, False for one with an adapter.

    Raises:
        SweepError: It holds neither, or its weights are not in safetensors files.
    """
    if (folder / CONFIG_FILE).is_file():
        require_safetensors(folder)
        return False
    if (folder / "config.json").is_file():
        return True
    raise SweepError(f"{folder}: must hold {CONFIG_FILE} (an adapter) or config.json (a model)")
