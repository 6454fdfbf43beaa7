"""Sweeps in every state, as records and as ledgers; nothing is trained."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from droplora_sweep.analysis.confirmed import Rule, decide
from droplora_sweep.analysis.evidence import Arm, Run, tabulate
from droplora_sweep.evaluation.results import ExampleResult
from droplora_sweep.ledger.writer import LedgerWriter
from droplora_sweep.present.contents.facts import gather_facts
from droplora_sweep.records.trial import (
    RecordedEvaluation,
    SweepOutcome,
    SweepRecord,
    TrialRecord,
    TrialState,
    trial_id,
)
from droplora_sweep.spec import AdapterSpec, SweepSpec, TaskSpec
from tests.recording import evaluated, planned

START = datetime(2026, 1, 1, tzinfo=UTC)
NUM_EXAMPLES = 40


class Sweep:
    """A sweep that is told trial by trial; each takes a minute and starts as the last one ends."""

    def __init__(self, benchmarks=("arc", "gsm"), name="demo", **sections):
        self.spec = SweepSpec(
            name=name, task=TaskSpec(name="toy", benchmarks=benchmarks), **sections
        ).model_dump(mode="json")
        self.benchmarks = benchmarks
        self.trials = []
        self.scores = {}
        self.outcome = SweepOutcome.COMPLETE
        self.reason = None
        self.is_live = False

    def trial(self, rate=0.0, score=0.5, rank=8, state="COMPLETE", num_reports=3, **more):
        """``score`` is the share of right answers, or one per benchmark; None is no score."""
        number = len(self.trials)
        name = f"t{number:04d}-{number:08x}"
        scores = score if isinstance(score, tuple) else (score,) * len(self.benchmarks)
        adapter = {"rank": rank, "pruning_rate": rate, "method": more.pop("method", "droplora")}
        params = {"adapter.rank": rank, "adapter.pruning_rate": rate, **more.pop("params", {})}
        started = START + timedelta(minutes=number)
        metrics = self._metrics(scores)
        evaluations = tuple(
            RecordedEvaluation(
                number=number,
                num_evaluations=3,
                step=10 * number,
                metrics={name: value * number / 3 for name, value in metrics.items()},
                time=started + timedelta(seconds=10 * number),
            )
            for number in range(1, num_reports + 1)
        )
        if state == "COMPLETE" and all(one is not None and math.isfinite(one) for one in scores):
            self.scores[name] = {
                benchmark: {
                    f"e{index}": float(index < round(value * NUM_EXAMPLES))
                    for index in range(NUM_EXAMPLES)
                }
                for benchmark, value in zip(self.benchmarks, scores, strict=True)
            }
        finished = None if state == "RUNNING" else started + timedelta(minutes=1)
        record = TrialRecord(
            trial_id=name,
            number=number,
            fingerprint=f"{number:08x}",
            spec={**self.spec, "adapter": {**self.spec["adapter"], **adapter}},
            params=params,
            drawn=params,
            state=TrialState(state),
            started=started,
            finished=finished,
            evaluations=evaluations,
            metrics=metrics,
            **more,
        )
        self.trials.append(record)
        return record

    def _metrics(self, scores):
        known = {
            f"val/{name}": value
            for name, value in zip(self.benchmarks, scores, strict=True)
            if value is not None
        }
        if len(known) == len(scores) > 1:
            known["val/mean"] = sum(scores) / len(scores)
        return {**known, "train/loss": 1.0, "train_seconds": 40.0}

    @property
    def record(self):
        ends = [trial.finished for trial in self.trials if trial.finished]
        return SweepRecord(
            sweep_id="5" * 32,
            name=self.spec["name"],
            spec=self.spec,
            data_digests={"arc/train": "ab" * 32},
            versions={"torch": "2.13.0"},
            started=START,
            finished=None if self.outcome is None else max(ends, default=START),
            outcome=self.outcome,
            reason=self.reason,
            trials=tuple(self.trials),
        )

    def facts(self, confirmed=()):
        return gather_facts(self.record, self.scores.get, confirmed, is_live=self.is_live)


@pytest.fixture
def sweep():
    return Sweep()


@pytest.fixture(scope="session")
def searched():
    """Twelve complete trials over three rates and two ranks; p = 0.2 and rank 16 are ahead."""
    sweep = Sweep()
    for index in range(12):
        rate = (0.0, 0.2, 0.4)[index % 3]
        rank = (8, 16)[index % 2]
        score = 0.4 + 0.1 * (rate == 0.2) + 0.05 * (rank == 16) + 0.01 * (index // 6)
        sweep.trial(rate, score, rank, params={"training.learning_rate": 1e-3 * (1 + index)})
    return sweep


@pytest.fixture(scope="session")
def searched_facts(searched):
    return searched.facts()


def confirm(truths, subject="arc", num_seeds=5, num_examples=2000, control=None):
    """A confirmed decision over rates with these true scores.

    Args:
        truths: By pruning rate; p = 0 first.
        subject: The benchmark.
        num_seeds: Of every arm.
        num_examples: Of the benchmark.
        control: True score of the second arm's setting without its pruning, if it was trained.
    """
    generator = np.random.default_rng(0)
    arms = [Arm(f"t{index:04d}-{index:08x}", rate) for index, rate in enumerate(truths)]
    if control is not None:
        arms[1] = replace(arms[1], control=f"{arms[1].name}@p=0")
        arms.append(Arm(f"{arms[1].name}@p=0", 0.0))
        truths = {**truths, "control": control}
    runs = [
        Run(
            arm,
            seed,
            {
                subject: {
                    f"e{index}": float(value)
                    for index, value in enumerate(generator.random(num_examples) < truth)
                }
            },
        )
        for arm, truth in zip(arms, truths.values(), strict=True)
        for seed in range(num_seeds)
    ]
    return decide(tabulate(runs), subject, arms, Rule(looks=(num_seeds,), margin=0.005))


@pytest.fixture
def storage(tmp_path):
    """A storage with one sweep, ``demo``, of two complete trials."""
    write_sweep(tmp_path / "results")
    return tmp_path / "results"


def write_sweep(folder, name="demo", num_correct=(5, 7), **sections):
    """A sweep of two complete trials, p = 0 and p = 0.2, as a driver writes it."""
    sweep = SweepSpec(name=name, task=TaskSpec(name="toy", benchmarks=("choice",)), **sections)
    ledger = LedgerWriter.create(folder, sweep, data_digests={"choice/validation": "ab" * 32})
    for number, rate in enumerate((0.0, 0.2)):
        adapter = AdapterSpec(rank=8, alpha=64, pruning_rate=rate)
        spec = sweep.trial.model_copy(update={"adapter": adapter})
        fingerprint = f"{number:08x}"
        trial = trial_id(number, fingerprint)
        params = {"adapter.rank": 8, "adapter.pruning_rate": rate}
        ledger.trial_started(planned(trial, number, fingerprint, spec, params))
        score = {"val/choice": num_correct[number] / 10, "train/loss": 1.0}
        ledger.trial_reported(trial, evaluated(1, 10, score, num_evaluations=1))
        results = [
            ExampleResult("choice", f"e{index}", "a", "a", "a", index < num_correct[number], 3)
            for index in range(10)
        ]
        ledger.trial_finished(trial, TrialState.COMPLETE, results=results)
    ledger.close()
