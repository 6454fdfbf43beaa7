"""Accuracy and likelihood of one sweep's runs, from its results alone: no run is scored again.

``python -m tests.benchmarks.likelihood_halves SWEEP STORAGE RECORDS`` writes a line for each
complete run: its stage, its setting, and of each example its score and how likely its reference
is. The runs of a stage share their examples. These are halved at random, many times, and each view
of one half is held against the accuracy on the other, which stands for what a search wants to
know. ``test_likelihood_halves.py`` holds the guide's table against the records.
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import rankdata

from tests.benchmarks.likelihood_study import signal_to_noise

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

RATE = "adapter.pruning_rate"
NUM_SPLITS = 200
NUM_BOOTSTRAPS = 500


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One run on one benchmark's examples, which all runs of its stage share in this order.

    Attributes:
        stage: ``search`` or ``confirm``.
        setting: Its settings, without the seed.
        scores: Score of each example, in [0, 1].
        nats: Log-probability of each reference.
        num_bytes: Length of each reference.
    """

    stage: str
    setting: str
    scores: list[float]
    nats: list[float]
    num_bytes: list[int]


def seen_by(name: str, storage: Path) -> Iterator[Seen]:
    """The complete runs of a sweep of one benchmark."""
    from droplora_sweep.ledger.files import read_references, read_scores
    from droplora_sweep.ledger.reader import Ledger

    record = Ledger.open(storage, name).record
    for trial in (*record.search_trials, *record.confirm_trials):
        if trial.results is None or trial.state != "COMPLETE":
            continue
        [scores] = read_scores(trial.results).values()
        [references] = read_references(trial.results).values()
        ids = sorted(references)
        yield Seen(
            stage=str(trial.stage),
            setting=json.dumps({**trial.params, "seed": None}, sort_keys=True),
            scores=[round(scores[one] or 0, 4) for one in ids],
            nats=[round(references[one][0], 3) for one in ids],
            num_bytes=[references[one][1] for one in ids],
        )


def read_runs(path: Path) -> list[Seen]:
    """The runs of a file of records."""
    return [Seen(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


@dataclass(frozen=True)
class Halves:
    """Power of both views of one half to tell how accurate runs are on the other.

    Attributes:
        by_accuracy: Spearman's correlation with it, in the mean over splits.
        by_likelihood: The same of the likelihood.
        picked_by_accuracy: Accuracy on the other half of the run that leads on one half, in the
            mean over splits.
        picked_by_likelihood: The same of the run whose references are likeliest.
        best: Accuracy of the run that is best on all examples.
        of_rates_by_accuracy: Accuracy on the other half of the run of each rate that leads on one
            half, in the mean over rates and splits.
        of_rates_by_likelihood: The same of the run of each rate whose references are likeliest.
        low: Lower end of the 95 % interval, over runs, of the second correlation less the first.
        high: Its upper end.
        explained: Share of the variance over examples of two settings' difference in score that
            the difference of their references' log-probabilities explains, in the mean over pairs.
        accuracy_ratio: Variance between settings over that within them, of accuracy on all; NaN
            where none has several seeds.
        likelihood_ratio: The same of bits per byte.
    """

    by_accuracy: float
    by_likelihood: float
    picked_by_accuracy: float
    picked_by_likelihood: float
    best: float
    of_rates_by_accuracy: float
    of_rates_by_likelihood: float
    low: float
    high: float
    explained: float
    accuracy_ratio: float
    likelihood_ratio: float


def halves(runs: Sequence[Seen]) -> Halves:
    """Return what random halves of the examples show; seeds are fixed."""
    generator = np.random.default_rng(0)
    score_RE = np.array([one.scores for one in runs])
    nats_RE = np.array([one.nats for one in runs])
    bytes_RE = np.array([one.num_bytes for one in runs], float)

    def bits(some: np.ndarray) -> np.ndarray:
        return -nats_RE[:, some].sum(1) / bytes_RE[:, some].sum(1) / math.log(2)

    values = []
    for _ in range(NUM_SPLITS):
        order = generator.permutation(score_RE.shape[1])
        one, other = np.array_split(order, 2)
        values.append((score_RE[:, one].mean(1), -bits(one), score_RE[:, other].mean(1)))
    value_SVR = np.array(values)

    def correlations(rows: np.ndarray, value_SVR: np.ndarray) -> np.ndarray:
        ranks = rankdata(value_SVR[..., rows], axis=-1)
        ranks -= ranks.mean(-1, keepdims=True)
        ranks /= np.maximum(np.sqrt((ranks**2).sum(-1, keepdims=True)), 1e-12)
        return (ranks[:, :2] * ranks[:, 2:]).sum(-1).mean(0)

    picks = [
        np.mean([truth_R[np.argmax(view_VR[view])] for *view_VR, truth_R in value_SVR])
        for view in range(2)
    ]
    rates = [json.loads(one.setting)[RATE] for one in runs]
    among = [[run for run, rate in enumerate(rates) if rate == one] for one in set(rates)]
    of_rates = [
        np.mean(
            [
                [truth_R[some][np.argmax(view_VR[view][some])] for some in among]
                for *view_VR, truth_R in value_SVR
            ]
        )
        for view in range(2)
    ]
    every = np.arange(len(runs))
    by_accuracy, by_likelihood = correlations(every, value_SVR)
    drawn = [
        np.diff(correlations(generator.choice(every, len(every)), value_SVR[:40]))[0]
        for _ in range(NUM_BOOTSTRAPS)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    settings = [one.setting for one in runs]

    def ratio(values: np.ndarray) -> float:
        return signal_to_noise(settings, values) if len({*settings}) < len(runs) else math.nan

    return Halves(
        by_accuracy=float(by_accuracy),
        by_likelihood=float(by_likelihood),
        picked_by_accuracy=float(picks[0]),
        picked_by_likelihood=float(picks[1]),
        best=float(score_RE.mean(1).max()),
        of_rates_by_accuracy=float(of_rates[0]),
        of_rates_by_likelihood=float(of_rates[1]),
        low=float(low),
        high=float(high),
        explained=_explained(settings, score_RE, nats_RE),
        accuracy_ratio=ratio(score_RE.mean(1)),
        likelihood_ratio=ratio(bits(np.arange(score_RE.shape[1]))),
    )


def _explained(settings: Sequence[str], score_RE: np.ndarray, nats_RE: np.ndarray) -> float:
    shares = [
        np.corrcoef(score_RE[one] - score_RE[other], nats_RE[one] - nats_RE[other])[0, 1] ** 2
        for one, other in combinations(range(len(settings)), 2)
        if settings[one] != settings[other]
    ]
    return float(np.mean(shares))


def main(arguments: list[str]) -> None:
    name, storage, path = arguments
    lines = [json.dumps(asdict(one)) for one in seen_by(name, Path(storage))]
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")
    runs = read_runs(Path(path))
    for stage in dict.fromkeys(one.stage for one in runs):
        print(stage, halves([one for one in runs if one.stage == stage]))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
