"""Adapters scored by a group of a cluster, as `export.scoring` scores them in its own process."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Final

from droplora_sweep.export.scoring import Measured, by_generation
from droplora_sweep.groups.messages import Compared, Scoring
from droplora_sweep.groups.seen import DATA, MODEL, Seen
from droplora_sweep.models.digests import model_digests_of
from droplora_sweep.spec import is_hub_id
from droplora_sweep.spec.metric_names import (
    LONG_PROMPTS,
    PERPLEXITY_AFTER,
    PERPLEXITY_BEFORE,
    PERPLEXITY_RATIO,
)
from droplora_sweep.storage.file_set import described
from droplora_sweep.tasks.loading import load_task

from .group import lone_group

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from droplora_sweep.evaluation.results import ExampleResult
    from droplora_sweep.export.scoring import Scorer, Split
    from droplora_sweep.groups.messages import Delivery
    from droplora_sweep.run.connection import RayAddress
    from droplora_sweep.spec import SweepSpec, TrialSpec
    from droplora_sweep.spec.evaluation import EvaluationSpec
    from droplora_sweep.tasks.task import Task

    from .group import LoneGroup


HERE: Final = "the driver's node"


class GroupScorer:
    """Scores plain adapters on the base model of a group (see `export.scoring.Scorer`).

    Args:
        group: Has the trial's base model.
        spec: Trial with the task and the evaluation.
    """

    def __init__(self, group: LoneGroup, spec: TrialSpec) -> None:
        self._group = group
        # A group takes the files of a method that trains all weights for a whole model.
        settings = spec.adapter.model_copy(update={"method": "lora"})
        self._spec = spec.model_copy(update={"adapter": settings})

    @cached_property
    def task(self) -> Task:
        """The task, as it is loaded in this process."""
        return load_task(self._spec.task)

    def __call__(self, adapter: Path | None, split: Split = "validation") -> list[ExampleResult]:
        """Return every example's result."""
        return list(self._scored(adapter, split, self._spec.evaluation).results)

    def measured(self, adapter: Path | None, split: Split) -> Measured:
        """Return the results and what else is measured."""
        found = self._scored(adapter, split, self._spec.evaluation, with_text=True)
        metrics = found.metrics
        of_text = (PERPLEXITY_BEFORE, PERPLEXITY_AFTER, PERPLEXITY_RATIO)
        perplexity = {name: metrics[name] for name in of_text if name in metrics}
        if adapter is None and perplexity:
            perplexity = {"perplexity": perplexity[PERPLEXITY_BEFORE]}
        return Measured(
            results=list(found.results),
            perplexity=perplexity,
            num_long={
                name.removeprefix(LONG_PROMPTS): int(number)
                for name, number in metrics.items()
                if name.startswith(LONG_PROMPTS)
            },
        )

    def generated_choices(self, adapter: Path | None, split: Split) -> list[ExampleResult]:
        """Results of the choice benchmarks by decoding, read with the ``paper`` protocol."""
        task, evaluation = by_generation(self.task, self._spec.evaluation)
        benchmarks = tuple(one.name for one in task.benchmarks)
        return list(self._scored(adapter, split, evaluation, benchmarks).results)

    def _scored(
        self,
        adapter: Path | None,
        split: Split,
        evaluation: EvaluationSpec,
        benchmarks: tuple[str, ...] | None = None,
        *,
        with_text: bool = False,
    ) -> Delivery:
        # Of this split prompts are measured before any is answered.
        evaluation = evaluation.model_copy(update={"split": split})
        return self._group.do(
            self._spec.model_copy(update={"evaluation": evaluation}),
            Scoring(
                split=split,
                benchmarks=benchmarks,
                files=None if adapter is None else described(adapter.resolve()),
                with_text=with_text,
            ),
        )


@contextmanager
def scorer_on_cluster(
    spec: TrialSpec,
    *,
    sweep: SweepSpec,
    address: RayAddress,
    say: Callable[[str], None],
    here: Task | None = None,
) -> Iterator[Scorer]:
    """Start a group for a trial's base model, and yield what scores adapters on it.

    Args:
        spec: Trial with the base model, the task and the evaluation.
        sweep: Has the size of the group.
        address: The cluster's.
        say: Shows the user one line.
        here: The task as this process sees it, where nodes are to see the same of it and of the
            model; None only compares nodes with each other.

    Raises:
        InputError: The cluster cannot hold the group, or a node lacks the model or the data.
        SweepError: There is no such cluster.
    """
    sweep = sweep.model_copy(update={"model": spec.model, "training": spec.training})
    compared = Compared(trial=spec.model_dump_json())
    seen = () if here is None else seen_here(spec, here)
    with lone_group(sweep, address, say, compared=compared, seen=seen) as group:
        say("scoring on a group of the cluster")
        yield GroupScorer(group, spec)


def seen_here(spec: TrialSpec, task: Task) -> list[Seen]:
    """Return what this process sees of a trial's model, but for a Hub's, and of its task."""
    seen = [Seen(field=DATA, place=HERE, digests=task.digests)]
    if not is_hub_id(spec.model.path):
        digests = model_digests_of(spec.model)
        seen.append(Seen(field=MODEL, place=HERE, digests=digests))
    return seen
