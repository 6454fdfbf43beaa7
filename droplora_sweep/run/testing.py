"""Scores winners on the test split, after everything is decided; nothing reads what it finds.

The groups have ended by then, so each scorer has a worker's CPUs and GPUs to itself. It loads the
base model once and scores one adapter after the other, as their users load them.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray

from droplora_sweep.errors import SweepError
from droplora_sweep.groups import room_for_workers
from droplora_sweep.groups.nodes import cluster_nodes
from droplora_sweep.ledger.adapter_files import verify_adapter
from droplora_sweep.publishing import MANIFEST

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from droplora_sweep.evaluation import ExampleResult
    from droplora_sweep.ledger.writer import LedgerWriter
    from droplora_sweep.records.trial import TrialRecord
    from droplora_sweep.spec import GroupSpec

    from .references import References

POLL_S = 0.5
MAX_RETRIES = 2
"""A scorer that dies is started again this often for one adapter."""


class _TestScorer:
    """Runs on a worker's node; what is imported there is not needed here."""

    def __init__(self, threads: int | None) -> None:
        import torch

        if threads is not None:
            torch.set_num_threads(threads)
        self._scorer: Any = None
        self._key: object = None

    def score(
        self, spec: str, files: Mapping[str, bytes] | None, benchmarks: tuple[str, ...] | None
    ) -> list[ExampleResult]:
        """Every result of these benchmarks' test splits.

        Args:
            spec: The trial's spec as JSON.
            files: Its adapter; None scores the untrained model.
            benchmarks: Their names; None for all.
        """
        from droplora_sweep.export.scoring import Scorer
        from droplora_sweep.spec import TrialSpec

        trial = TrialSpec.model_validate_json(spec)
        key = (trial.task, trial.evaluation)
        if key != self._key:
            self._scorer, self._key = Scorer(trial), key
        if files is None:
            untrained: list[ExampleResult] = self._scorer(None, "test", benchmarks)
            return untrained
        with tempfile.TemporaryDirectory() as folder:
            for name, content in files.items():
                path = Path(folder) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            results: list[ExampleResult] = self._scorer(Path(folder), "test", benchmarks)
        return results


def score_on_test(
    ledger: LedgerWriter,
    wanted: Mapping[str, tuple[str, ...]],
    references: References,
    group: GroupSpec,
    should_stop: Callable[[], bool],
    say: Callable[[str], None],
) -> None:
    """Score trials on the test split and record it, each once, until it is told to stop.

    The untrained model is scored with the first of them.

    Args:
        ledger: Where their adapters are, and their scores go.
        wanted: Benchmarks by trial's id.
        references: Records the untrained model's scores.
        group: What a worker has.
        should_stop: Asked a few times a second; what is not recorded then is scored another time.
        say: Shows the user one line.

    Raises:
        SweepError: A scorer died again and again, or an adapter is damaged.
    """
    if not wanted:
        return
    room = max(1, room_for_workers(group, cluster_nodes()))
    say(f"test split: scoring {len(wanted)} adapters, once, now that everything is decided")
    lacks_untrained = "test" not in ledger.record.references
    num_jobs = len(wanted) + lacks_untrained
    actor: Any = ray.remote(_TestScorer)
    scorers = [
        actor.options(
            num_cpus=group.cpus_per_worker,
            num_gpus=group.gpus_per_worker,
            max_restarts=MAX_RETRIES,
            max_task_retries=MAX_RETRIES,
        ).remote(None if group.gpus_per_worker else max(1, int(group.cpus_per_worker)))
        for _ in range(min(room, num_jobs))
    ]
    waiting: dict[Any, str | None] = {}
    if lacks_untrained:
        # The last scorer has the fewest adapters.
        first = ledger.trial(next(iter(wanted)))
        waiting[scorers[-1].score.remote(_spec(first), None, None)] = None
    for index, (trial_id, benchmarks) in enumerate(wanted.items()):
        trial = ledger.trial(trial_id)
        scorer = scorers[index % len(scorers)]
        reply = scorer.score.remote(_spec(trial), _files(trial), benchmarks)
        waiting[reply] = trial_id
    try:
        while waiting and not should_stop():
            done, _ = ray.wait(list(waiting), timeout=POLL_S)
            for reply in done:
                scored = waiting.pop(reply)
                if scored is None:
                    references.record("test", _result(reply, "untrained model"))
                    continue
                trial_id = scored
                tested = ledger.trial_tested(trial_id, _result(reply, trial_id))
                shown = ", ".join(f"{name} {x:.1%}" for name, x in tested.test_scores.items())
                say(f"{trial_id} test      {shown}")
    finally:
        for scorer in scorers:
            ray.kill(scorer)


def _result(reply: Any, trial_id: str) -> list[ExampleResult]:
    try:
        results: list[ExampleResult] = ray.get(reply)
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[-1]
        raise SweepError(f"{trial_id}: cannot be scored on the test split: {reason}") from error
    return results


def _spec(trial: TrialRecord) -> str:
    return json.dumps(trial.spec)


def _files(trial: TrialRecord) -> dict[str, bytes]:
    assert trial.adapter is not None, "a complete trial has an adapter"
    verify_adapter(trial.adapter, trial.adapter_digest)
    return {
        path.relative_to(trial.adapter).as_posix(): path.read_bytes()
        for path in sorted(trial.adapter.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }
