"""Offline study of the quickstart's benchmarks: what does each pruning rate do, over many seeds?

    python -m tests.benchmarks.pruning_study tests/benchmarks/pruning_study.jsonl

trains the quickstart's trials with the product's own training and evaluation, without Ray. Each
seed has its own training data, its own fresh examples to score on, its own initialisation, masks
and order; none of them is the quickstart's (`BUILTIN_DATA_SEED`, `SweepSpec.seed`). A difference
to p = 0 is paired by seed, with Student's 95 % interval over the seeds.

Rates are compared twice: at one learning rate, and each at the learning rate that is best for it
on seeds that are not counted, since an answer is about whole settings. Every trial is a line of
the file, so a study that was interrupted continues where it was.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import t as student

from droplora_sweep.records.messages import Decision
from droplora_sweep.spec import load_sweep_file
from droplora_sweep.spec.trial import TrialSpec
from droplora_sweep.tasks.builtin.generation import BUILTIN_BENCHMARKS, generate
from droplora_sweep.training.runner import TrialRunner

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

QUICKSTART = Path(__file__).parents[2] / "search_spaces" / "quickstart.yaml"
RATES = (0.0, 0.2, 0.4, 0.6, 0.8)
RANK, ALPHA = 16, 32
LEARNING_RATE = 1e-2
LEARNING_RATES = (5e-3, 1e-2, 2e-2)
FIXED = dict.fromkeys(RATES, LEARNING_RATE)
SEEDS = range(101, 121)
CHOOSING_SEEDS = range(201, 204)
"""Seeds that choose each rate's learning rate."""
NUM_SCORED = 300


@dataclass(frozen=True, kw_only=True)
class Result:
    """Accuracy of one trial on one benchmark."""

    benchmark: str
    seed: int
    learning_rate: float
    pruning_rate: float
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class Effect:
    """A rate on a benchmark, against p = 0; fractions, with a 95 % interval over seeds."""

    mean: float
    difference: float
    low: float
    high: float
    num_seeds: int


def effect(results: Iterable[Result], learning_rates: dict[float, float], p: float) -> Effect:
    """Compare a rate with p = 0 over the seeds that both have.

    Args:
        results: Of all trials on one benchmark.
        learning_rates: Learning rate by pruning rate.
        p: The pruning rate.
    """
    by_seed: dict[float, dict[int, float]] = defaultdict(dict)
    for one in results:
        if one.learning_rate == learning_rates.get(one.pruning_rate):
            by_seed[one.pruning_rate][one.seed] = one.accuracy
    seeds = sorted(by_seed[p].keys() & by_seed[0.0].keys())
    own_S = np.array([by_seed[p][seed] for seed in seeds])
    difference_S = own_S - np.array([by_seed[0.0][seed] for seed in seeds])
    half = math.nan
    if len(seeds) > 1:
        error = difference_S.std(ddof=1) / math.sqrt(len(seeds))
        half = float(student.ppf(0.975, len(seeds) - 1) * error)
    mean = float(difference_S.mean())
    return Effect(
        mean=float(own_S.mean()),
        difference=mean,
        low=mean - half,
        high=mean + half,
        num_seeds=len(seeds),
    )


def best_learning_rates(results: Iterable[Result]) -> dict[float, float]:
    """Return each rate's learning rate with the highest mean accuracy over the choosing seeds.

    Args:
        results: Of all trials on one benchmark.
    """
    scores: dict[tuple[float, float], list[float]] = defaultdict(list)
    for one in results:
        if one.seed in CHOOSING_SEEDS:
            scores[one.pruning_rate, one.learning_rate].append(one.accuracy)
    return {
        rate: max(
            (learning_rate for p, learning_rate in scores if p == rate),
            key=lambda learning_rate, rate=rate: np.mean(scores[rate, learning_rate]),
        )
        for rate in sorted({p for p, _ in scores})
    }


def trial(seed: int, learning_rate: float, pruning_rate: float, data: Path) -> TrialSpec:
    """Return the quickstart's trial with this seed, on data of its own in this folder."""
    sweep = load_sweep_file(QUICKSTART).sweep
    names = sweep.task.benchmarks
    benchmarks = {}
    for name in names:
        known = BUILTIN_BENCHMARKS[name]
        own = name.removeprefix("builtin_")
        sizes = {"train": sweep.task.num_train, "validation": NUM_SCORED, "test": 1}
        for split, size in sizes.items():
            file = data / own / f"{split}.json"
            file.parent.mkdir(exist_ok=True)
            file.write_text(json.dumps([asdict(one) for one in generate(name, split, size, seed)]))
        benchmarks[own] = {
            "data": str(data / own),
            "scoring": known.scoring,
            "options": known.options,
            "prompt_suffix": known.prompt_suffix,
            "max_new_tokens": known.max_new_tokens,
        }
    task = {**sweep.task.model_dump(), "benchmarks": benchmarks, "num_validation": NUM_SCORED}
    adapter = {
        **sweep.adapter.model_dump(),
        "rank": RANK,
        "alpha": ALPHA,
        "pruning_rate": pruning_rate,
    }
    size = sweep.training.global_batch_size
    # One worker takes the whole batch at once.
    training = {
        **sweep.training.model_dump(),
        "learning_rate": learning_rate,
        "micro_batch_size": size,
    }
    given = {
        "model": sweep.model.model_dump(),
        "task": {**task, "num_test": None, "num_confirmation": None},
        "adapter": adapter,
        "training": training,
        "evaluation": {**sweep.evaluation.model_dump(), "num_evaluations": 1, "batch_size": 100},
        "seed": seed,
    }
    return TrialSpec.model_validate(given)


def run(runner: TrialRunner, seed: int, learning_rate: float, p: float) -> list[Result]:
    """Train a trial and score it on its fresh examples."""
    reports = []
    with tempfile.TemporaryDirectory() as folder:
        spec = trial(seed, learning_rate, p, Path(folder))
        runner.run(spec, lambda report: (reports.append(report), Decision.GO_ON)[1])
    metrics = reports[-1].evaluation.metrics
    return [
        Result(
            benchmark=name,
            seed=seed,
            learning_rate=learning_rate,
            pruning_rate=p,
            accuracy=metrics[f"val/{name}"],
        )
        for name in spec.task.benchmarks
    ]


def read(file: Path) -> list[Result]:
    """Return the results of the trials that are done."""
    lines = file.read_text().splitlines() if file.exists() else []
    return [Result(**json.loads(line)) for line in lines]


def shown(results: Sequence[Result]) -> str:
    """Return the table of every benchmark, at one learning rate and at each rate's best one."""
    lines = []
    for name in dict.fromkeys(one.benchmark for one in results):
        own = [one for one in results if one.benchmark == name]
        counted = [one for one in own if one.seed in SEEDS]
        lines += [f"{name}, at one learning rate", *_rows(counted, FIXED)]
        if best := best_learning_rates(own):
            lines += [f"{name}, each at its own", *_rows(counted, best)]
    return "\n".join(lines)


def _rows(results: Sequence[Result], learning_rates: dict[float, float]) -> list[str]:
    """One line for each rate that has results, as soon as p = 0 has some."""
    have = {
        one.pruning_rate for one in results if one.learning_rate == learning_rates[one.pruning_rate]
    }
    rows = []
    for p in sorted(have if 0.0 in have else ()):
        one = effect(results, learning_rates, p)
        rows.append(
            f"  p = {p:g}, learning rate {learning_rates[p]:g}: {one.mean:.1%}, "
            f"{100 * one.difference:+.1f} points [{100 * one.low:+.1f}, {100 * one.high:+.1f}] "
            f"({one.num_seeds} seeds)"
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="results, one line for each trial and benchmark")
    parser.add_argument("--show", action="store_true", help="print the table of what is done")
    arguments = parser.parse_args()
    if not arguments.show:
        study(arguments.file)
    print(shown(read(arguments.file)))  # noqa: T201


def study(file: Path) -> None:
    """Run the trials that are missing: first at one learning rate, then at each rate's best."""
    runner = TrialRunner(load_sweep_file(QUICKSTART).sweep.model, threads=1)

    def ensure(seed: int, learning_rate: float, p: float) -> None:
        done = {(one.seed, one.learning_rate, one.pruning_rate) for one in read(file)}
        if (seed, learning_rate, p) not in done:
            with file.open("a") as opened:
                for one in run(runner, seed, learning_rate, p):
                    opened.write(json.dumps(asdict(one)) + "\n")

    for seed in SEEDS:
        for p in RATES:
            ensure(seed, LEARNING_RATE, p)
    for seed in CHOOSING_SEEDS:
        for learning_rate in LEARNING_RATES:
            for p in RATES:
                ensure(seed, learning_rate, p)
    results = read(file)
    for name in sorted({one.benchmark for one in results}):
        own = [one for one in results if one.benchmark == name]
        for p, learning_rate in best_learning_rates(own).items():
            for seed in SEEDS:
                ensure(seed, learning_rate, p)


if __name__ == "__main__":
    main()
