"""Sweeps of every kind as a driver writes them, event by event; nothing is trained."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from droplora_sweep.evaluation.results import ExampleResult
from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.ledger.writer import LedgerWriter
from droplora_sweep.records.trial import QueuedClone, Stage, SweepOutcome, TrialState
from droplora_sweep.run.confirming import confirmation_of, wanted_on_test
from droplora_sweep.run.deciding import Grounds
from droplora_sweep.run.forking import past_of, take_over
from droplora_sweep.run.runs import Identity
from droplora_sweep.spec import ExploitStep, SweepSpec
from droplora_sweep.spec.fields import with_fields
from tests.recording import evaluated, planned

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from droplora_sweep.spec import TrialSpec

IDENTITY = Identity({}, {"torch": "2", "transformers": "5", "peft": "0", "deepspeed": "0"}, 1)
BENCHMARKS = ("builtin_choice", "builtin_math")
NUM_EXAMPLES = 40
TRUTH = {0.0: (0.4, 0.5), 0.2: (0.7, 0.5), 0.4: (0.45, 0.55), 0.6: (0.3, 0.2)}
"""True scores on both benchmarks by pruning rate."""


SEARCHED = {
    "parameters": {
        "adapter.pruning_rate": {"values": [0.0, 0.2, 0.4, 0.6, 0.8]},
        "adapter.rank": {"min": 1, "max": 64, "step": 1},
    }
}


def make_sweep(name: str, benchmarks: Sequence[str] = BENCHMARKS, **sections: Any) -> SweepSpec:
    task = {"benchmarks": list(benchmarks), "num_validation": NUM_EXAMPLES}
    return SweepSpec.model_validate({"name": name, "task": task, **sections})


def answers(shares: Mapping[str, float], key: object) -> list[ExampleResult]:
    """Right in these shares of examples, by benchmark; the same key gives the same answers."""
    drawn = random.Random(str(key))
    return [
        ExampleResult(name, f"e{index}", "a", "a", "a", drawn.random() < share, 1)
        for name, share in shares.items()
        for index in range(NUM_EXAMPLES)
    ]


class Driver:
    """Writes trials into a ledger."""

    def __init__(
        self, storage: Path, sweep: SweepSpec, adapter: Mapping[str, bytes], **given: Any
    ) -> None:
        digests = {
            f"{name}/{split}": "ab" * 32
            for name in sweep.task.benchmarks
            for split in ("validation", "test")
        }
        self.sweep, self.adapter = sweep, adapter
        self.ledger = LedgerWriter.create(
            storage, sweep, data_digests=digests, versions=IDENTITY.versions, **given
        )

    def start(self, rate: float, **fields: Any) -> str:
        """Start a search trial."""
        number = len(self.ledger.search_records())
        params = {"adapter.pruning_rate": rate, **fields}
        spec = with_fields(self.sweep.trial, params)
        name, digest = IDENTITY(number, spec)
        self.ledger.trial_started(planned(name, number, digest, spec, params))
        return name

    def restart(self, name: str) -> None:
        """Start a trial again that is resumed, or retried."""
        self.ledger.trial_started(self.ledger.trial(name))

    def report(self, name: str, evaluation: int = 1, of: int = 1, **more: float) -> None:
        results = answers(self.shares(name), (name, evaluation))
        outcomes = None
        if self.sweep.search.stopping.kind == "futility":
            outcomes = {
                benchmark: [one.score for one in results if one.benchmark == benchmark]
                for benchmark in self.sweep.task.benchmarks
            }
        self.ledger.trial_reported(
            name,
            evaluated(
                evaluation,
                10 * evaluation,
                {**self.metrics(name, results), **more},
                num_evaluations=of,
                outcomes=outcomes,
            ),
        )

    def metrics(self, name: str, results: Sequence[ExampleResult]) -> dict[str, float]:
        prefix = self.ledger.trial(name).spec["evaluation"]["split"].partition("idation")[0]
        prefix = {"confirmation": "confirm"}.get(prefix, prefix)
        scores = {
            benchmark: sum(one.score or 0 for one in results if one.benchmark == benchmark)
            / NUM_EXAMPLES
            for benchmark in self.sweep.task.benchmarks
        }
        scores["mean"] = sum(scores.values()) / len(scores)
        named = {f"{prefix}/{benchmark}": score for benchmark, score in scores.items()}
        return {**named, "train/loss": 1.0, "train_seconds": 2.0, "peak_memory_gb": 1.5}

    def shares(self, name: str) -> dict[str, float]:
        rate = self.ledger.trial(name).spec["adapter"]["pruning_rate"]
        return dict(zip(self.sweep.task.benchmarks, TRUTH[rate], strict=False))

    def finish(
        self, name: str, state: TrialState = TrialState.COMPLETE, reason: str | None = None
    ) -> str:
        has_results = state is not TrialState.FAILED
        evaluation = len(self.ledger.trial(name).evaluations) or 1
        self.ledger.trial_finished(
            name,
            state,
            reason=reason,
            adapter_files=self.adapter if has_results else None,
            results=answers(self.shares(name), (name, evaluation)) if has_results else None,
        )
        return name

    def run(self, rate: float, **fields: Any) -> str:
        name = self.start(rate, **fields)
        self.report(name)
        return self.finish(name)

    def confirm(
        self,
        fails: Callable[[str, int], bool] = lambda arm, seed: False,
        *,
        as_earlier: bool = False,
    ) -> None:
        """Train what the confirmation asks for, look by look, until it is over.

        Args:
            fails: Says which runs fail, by arm and seed.
            as_earlier: True to write runs as a version without races did.
        """
        while True:
            found = confirmation_of(self.ledger.record, self.ledger)
            assert found is not None
            if not found.progress.missing:
                return
            arm, seed = found.progress.missing[0]
            number = len(self.ledger.confirm_records())
            spec: TrialSpec = found.run_spec(arm.name, seed)
            name, digest = IDENTITY(number, spec, stage=Stage.CONFIRM)
            self.ledger.trial_started(
                planned(
                    name,
                    number,
                    digest,
                    spec,
                    {},
                    stage=Stage.CONFIRM,
                    arm=arm.name,
                    raced=found.budget.races and not as_earlier,
                )
            )
            if fails(arm.name, seed):
                self.finish(name, TrialState.FAILED, "out of memory")
            else:
                self.report(name)
                self.finish(name)

    def test(self) -> None:
        found = confirmation_of(self.ledger.record, self.ledger)
        assert found is not None
        decisions = Grounds(self.ledger).of_confirmation(found.progress.decisions)
        for name, benchmarks in wanted_on_test(found, decisions, self.ledger.record).items():
            shares = {one: share for one, share in self.shares(name).items() if one in benchmarks}
            self.ledger.trial_tested(name, answers(shares, f"test {name}"))

    def reference(self, split: str, share: float = 0.05) -> None:
        """Score the untrained model."""
        shares = dict.fromkeys(self.sweep.task.benchmarks, share)
        first = self.sweep.task.benchmarks[0]
        self.ledger.reference_scored(
            split, answers(shares, f"untrained {split}"), {first: ("a", share)}, {first: share}
        )

    def interrupt(self) -> None:
        """End this driver and go on as another."""
        self.ledger.sweep_finished(SweepOutcome.INTERRUPTED, reason="SIGTERM")
        storage = self.ledger.storage
        self.ledger.close()
        self.ledger = LedgerWriter.resume(storage, self.sweep, versions=IDENTITY.versions)

    def end(self, outcome: SweepOutcome = SweepOutcome.COMPLETE, reason: str | None = None) -> None:
        self.ledger.sweep_finished(outcome, reason=reason, summary={"README.md": "over"})
        self.ledger.close()


def searched(storage: Path, adapter: Mapping[str, bytes], num_after: int = 4) -> None:
    """A search that fails once, is interrupted in a trial, and goes on with that and more."""
    driver = Driver(storage, make_sweep("searched", search=SEARCHED), adapter)
    broken = driver.start(0.2, **{"adapter.rank": 4})
    driver.finish(broken, TrialState.FAILED, "out of memory")
    for number in range(4):
        driver.run((0.0, 0.2, 0.4)[number % 3], **{"adapter.rank": 4 + 4 * (number % 2)})
    open_trial = driver.start(0.4, **{"adapter.rank": 16})
    driver.report(open_trial, 1, of=2)
    driver.interrupt()
    spec, record = driver.sweep.trial, driver.ledger.trial(open_trial)
    driver.ledger.trial_started(
        planned(open_trial, record.number, record.fingerprint, with_fields(spec, record.params), {})
    )
    driver.report(open_trial, 2, of=2)
    driver.finish(open_trial)
    for number in range(num_after):
        driver.run((0.6, 0.2)[number % 2], **{"adapter.rank": 32 + number})
    driver.end()


def stopped_early(storage: Path, adapter: Mapping[str, bytes]) -> None:
    """Successive halving by hand and by rule: stopped, pinned, adjusted and cloned trials."""
    search = {"stopping": {"kind": "futility"}, "num_trials": 6}
    driver = Driver(storage, make_sweep("stopped_early", search=search), adapter)
    for number, rate in enumerate((0.0, 0.2, 0.4, 0.6)):
        name = driver.start(rate, **{"adapter.rank": 4 + number})
        driver.report(name, 1, of=3)
        if number == 0:
            driver.ledger.trial_pinned(name, "ann@host")
            driver.report(name, 2, of=3)
            driver.report(name, 3, of=3)
            driver.finish(name)
        elif number == 1:
            driver.ledger.trial_adjusted(name, {"training.micro_batch_size": 2}, "out of memory")
            driver.ledger.trial_stop_asked(name, "ann@host")
            driver.finish(name, TrialState.STOPPED, "asked by ann@host")
        else:
            driver.finish(name, TrialState.STOPPED, "behind")
    parent = driver.ledger.search_records()[0]
    spec = with_fields(driver.sweep.trial, {"adapter.rank": 9, "adapter.pruning_rate": 0.2})
    name, digest = IDENTITY(4, spec)
    clone = QueuedClone(
        trial_id=name,
        number=4,
        fingerprint=digest,
        spec=spec.model_dump(mode="json"),
        params={"adapter.rank": 9},
        drawn={},
        clone_of=parent.trial_id,
        by="ann@host",
    )
    driver.ledger.trial_cloned(clone)
    driver.ledger.trial_started(planned(name, 4, digest, spec, {}, {}, clone_of=parent.trial_id))
    driver.report(name)
    driver.finish(name)
    driver.end()


def failed(storage: Path, adapter: Mapping[str, bytes]) -> None:
    """Every trial fails, and so does the sweep."""
    driver = Driver(storage, make_sweep("failed"), adapter)
    for rate in (0.0, 0.2):
        driver.finish(driver.start(rate), TrialState.FAILED, "out of memory")
    driver.end(SweepOutcome.FAILED, "no group could start")


def confirmed(storage: Path, adapter: Mapping[str, bytes]) -> None:
    """A confirmation with controls, looks at whole comparisons, one failed run, and the test."""
    confirm = {"rates": 1, "seeds": 3, "max_seeds": 5, "margin": 0.0, "controls": True}
    driver = Driver(storage, make_sweep("confirmed", confirm=confirm), adapter)
    for number, rate in enumerate((0.2, 0.0, 0.4, 0.6)):
        driver.run(rate, **{"adapter.rank": 4 + number})
    driver.reference("validation")
    driver.confirm(lambda arm, seed: seed == 44 and arm.endswith("@p=0"), as_earlier=True)
    driver.reference("confirmation")
    driver.test()
    driver.reference("test")
    driver.end()


def retried(storage: Path, adapter: Mapping[str, bytes]) -> None:
    """Failed trials that get another go: after the sweep's end, at once, and in a confirmation."""
    driver = Driver(storage, make_sweep("retried"), adapter)
    broken = [driver.start(0.2, **{"adapter.rank": 4}), driver.start(0.4, **{"adapter.rank": 4})]
    for name in broken:
        driver.report(name, 1, of=2)
        driver.finish(name, TrialState.FAILED, "out of memory")
    driver.run(0.0, **{"adapter.rank": 4})
    driver.ledger.sweep_finished(SweepOutcome.COMPLETE)
    driver.ledger.close()
    confirm = {"rates": 1, "seeds": 3, "margin": 0.0}
    driver.sweep = make_sweep("retried", confirm=confirm)
    driver.ledger = LedgerWriter.resume(storage, driver.sweep, versions=IDENTITY.versions)
    for name in broken:
        driver.ledger.trial_retried(name, "ann@host")
    driver.restart(broken[0])
    driver.report(broken[0])
    driver.finish(broken[0])
    driver.restart(broken[1])
    driver.finish(broken[1], TrialState.FAILED, "out of memory again")
    driver.ledger.trial_retried(broken[1], "bob@host")
    driver.restart(broken[1])
    driver.report(broken[1])
    driver.finish(broken[1])
    baseline = driver.ledger.search_records()[2].trial_id
    driver.confirm(lambda arm, seed: seed == 44 and arm != baseline)
    lost = [trial for trial in driver.ledger.confirm_records() if trial.state == "FAILED"]
    driver.ledger.trial_retried(lost[0].trial_id, "ann@host")
    driver.restart(lost[0].trial_id)
    driver.report(lost[0].trial_id)
    driver.finish(lost[0].trial_id)
    driver.confirm()
    driver.test()
    driver.end()


def raced(storage: Path, adapter: Mapping[str, bytes]) -> None:
    """A confirmation that drops single arms, within GPU hours, and the test."""
    confirm = {"rates": 3, "seeds": 3, "max_seeds": 8, "gpu_hours": 100}
    driver = Driver(storage, make_sweep("raced", BENCHMARKS[:1], confirm=confirm), adapter)
    for number, rate in enumerate((0.2, 0.0, 0.4, 0.6)):
        driver.run(rate, **{"adapter.rank": 4 + number})
    driver.reference("validation")
    driver.confirm()
    driver.reference("confirmation")
    driver.test()
    driver.end()


def nothing(storage: Path, adapter: Mapping[str, bytes]) -> None:
    """A confirmation that finds nothing to decide: the untrained model is as good."""
    driver = Driver(storage, make_sweep("nothing", confirm={"rates": 1, "seeds": 3}), adapter)
    driver.run(0.0)
    driver.reference("validation", 0.95)
    driver.run(0.2)
    driver.reference("confirmation", 0.95)
    driver.confirm()
    driver.test()
    driver.end()


def fork(storage: Path, adapter: Mapping[str, bytes]) -> None:
    """A fork of `searched` with one more benchmark's confirmation."""
    searched(storage, adapter, num_after=0)
    confirm = {"rates": 1, "seeds": 3, "examples": "validation"}
    sweep = make_sweep("fork", confirm=confirm, search=SEARCHED)
    past = past_of(Ledger.open(storage, "searched").record, sweep, IDENTITY)
    driver = Driver(storage, sweep, adapter, past=past)
    take_over(driver.ledger)
    driver.confirm()
    driver.test()
    driver.end()


def population(storage: Path, adapter: Mapping[str, bytes]) -> None:
    """Members that copy each other."""
    search = {
        "num_trials": 3,
        "stopping": {"kind": "none"},
        "population": {"min_members": 2},
        "parameters": {"training.learning_rate": {"min": 1e-4, "max": 1e-2, "scale": "log"}},
    }
    sections = {"search": search, "evaluation": {"num_evaluations": 2}}
    driver = Driver(storage, make_sweep("population", **sections), adapter)
    names = [
        driver.start(rate, **{"training.learning_rate": 1e-3 * (1 + number)})
        for number, rate in enumerate((0.0, 0.2, 0.4))
    ]
    for name in names:
        driver.report(name, 1, of=2)
        driver.ledger.trial_exploited(name, ExploitStep(1))
        driver.report(name, 2, of=2)
    driver.ledger.trial_exploited(
        names[2], ExploitStep(2, names[1], {"training.learning_rate": 5e-4})
    )
    for name in names:
        driver.finish(name)
    driver.end()


def methods(storage: Path, adapter: Mapping[str, bytes]) -> None:
    """Methods side by side on one benchmark, for two objectives."""
    search = {
        "num_trials": 4,
        "parameters": {"adapter.method": {"values": ["lora", "dora"]}},
        "objectives": ["builtin_choice", "memory"],
        "stopping": {"kind": "none"},
    }
    driver = Driver(storage, make_sweep("methods", BENCHMARKS[:1], search=search), adapter)
    for number, method in enumerate(("lora", "dora", "lora", "dora")):
        driver.run(0.0, **{"adapter.method": method, "adapter.rank": 4 + number})
    driver.end()


KINDS = {
    make.__name__: make
    for make in (
        searched,
        stopped_early,
        failed,
        confirmed,
        retried,
        raced,
        nothing,
        fork,
        population,
        methods,
    )
}
"""Writes a sweep of that name, by its name."""
