"""Grounds for a decision: scores above what needs no training, from training that was enough.

Two arms that have learned nothing can be distinguished as well as two that have, and the answer
would be about nothing. So nothing is decided on a benchmark

* where no arm scores above everything that needs no training (references), beyond its interval;
* where every run gives one answer to all examples;
* where the loss still falls at the end of most runs, see ``training.position``.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import t as student

from droplora_sweep.spec.metric_names import LATE_FALL_LOW, LATE_PACE, MEAN

from .estimate import Estimate, listed
from .intervals import CONFIDENCE
from .pairing import score_estimate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from droplora_sweep.records.trial import Reference

    from .evidence import Array, Scores


UNTRAINED = "untrained model"
CHANCE = "chance"


@dataclass(frozen=True)
class ReferenceRow:
    """One thing to beat on one benchmark, or on the mean.

    Attributes:
        benchmark: Its name, or ``mean``.
        label: Its name: ``untrained model``, ``always "true"``, ``chance``.
        score: A fraction.
        estimate: The same with its 95 % interval, which covers the choice of examples; None for
            what is known without.
    """

    benchmark: str
    label: str
    score: float
    estimate: Estimate | None = None


def reference_rows(
    reference: Reference, untrained: Scores | None, names: Sequence[str]
) -> tuple[ReferenceRow, ...]:
    """Return what has to be beaten on each benchmark, and on their mean.

    Args:
        reference: Of one split.
        untrained: The untrained model's score on each of its examples.
        names: The benchmarks; those that it has no score of are left out.
    """
    known = [name for name in names if name in reference.untrained]
    rows = []
    for name in known:
        score = reference.untrained[name]
        rows.append(ReferenceRow(name, UNTRAINED, score, score_estimate(untrained, [name])))
        if name in reference.most_frequent:
            answer, share = reference.most_frequent[name]
            rows.append(ReferenceRow(name, f'always "{answer}"', share))
        if name in reference.chance:
            rows.append(ReferenceRow(name, CHANCE, reference.chance[name]))
    if len(known) > 1:
        rows += _mean_rows(reference, untrained, known)
    return tuple(row for row in rows if math.isfinite(row.score))


def _mean_rows(
    reference: Reference, untrained: Scores | None, names: Sequence[str]
) -> list[ReferenceRow]:
    score = fmean(reference.untrained[name] for name in names)
    rows = [ReferenceRow(MEAN, UNTRAINED, score, score_estimate(untrained, names))]
    if all(name in reference.most_frequent for name in names):
        shares = [reference.most_frequent[name][1] for name in names]
        rows.append(ReferenceRow(MEAN, "always the most frequent answer", fmean(shares)))
    if all(name in reference.chance for name in names):
        rows.append(ReferenceRow(MEAN, CHANCE, fmean(reference.chance[name] for name in names)))
    return rows


def rows_json(rows: Sequence[ReferenceRow], benchmark: str) -> list[dict[str, Any]]:
    """The rows of one benchmark, for other programs."""
    return [
        {
            "label": row.label,
            "score": row.score,
            "low": None if row.estimate is None else row.estimate.low,
            "high": None if row.estimate is None else row.estimate.high,
        }
        for row in rows
        if row.benchmark == benchmark
    ]


SAME_ANSWER = 0.95
"""From this share of one answer on, a run answers alike whatever it is asked."""
MOSTLY_SAME = 0.75
"""From this share on, one answer is named where the scores are not above what needs no training."""
FAST_LATE_PACE = 0.5
"""A loss that falls this fast at the end, of its average pace, has an eighth of its fall to go."""


@dataclass(frozen=True)
class RunFacts:
    """One run, as far as it tells whether anything was learned.

    Attributes:
        scores: By benchmark and example.
        given: Counts of the answers given, by benchmark; None is one that cannot be read.
        right: Counts of the right answers, by benchmark.
        metrics: Of its last evaluation.
    """

    scores: Scores
    given: Mapping[str, Counter[str | None]] = field(default_factory=dict)
    right: Mapping[str, Counter[str]] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_falling(self) -> bool | None:
        """True of a loss that still falls, beyond noise and fast; None where that is not known."""
        low, pace = self.metrics.get(LATE_FALL_LOW), self.metrics.get(LATE_PACE)
        return None if low is None or pace is None else low > 0 and pace >= FAST_LATE_PACE


def doubts(
    subject: str,
    arms: Mapping[str, Sequence[RunFacts]],
    rows: Sequence[ReferenceRow],
    untrained: Scores | None,
    *,
    num_candidates: int = 1,
) -> tuple[str, ...]:
    """Return why nothing can be decided on a benchmark; empty where something can.

    Args:
        subject: A benchmark, or ``mean``.
        arms: The runs of everything that is compared, by what it is called.
        rows: References to beat, of any benchmark.
        untrained: The untrained model's score on each example, to be paired with the runs'.
        num_candidates: Trials that each arm was picked from by its score.
    """
    arms = {name: runs for name, runs in arms.items() if runs}
    if not arms:
        return ()
    own = [row for row in rows if row.benchmark == subject]
    runs = [run for some in arms.values() for run in some]
    parts = _parts(subject, runs)
    not_above = _not_above(arms, parts, own, untrained, num_candidates)
    alike = _all_alike(runs, parts)
    found = [
        not_above,
        alike,
        _mostly_alike(runs, parts) if not_above is not None and alike is None else None,
        _still_falling(runs),
    ]
    return tuple(reason for reason in found if reason is not None)


def remarks(subject: str, arms: Mapping[str, Sequence[RunFacts]]) -> tuple[str, ...]:
    """Return what has to be known of single arms where there is something to decide.

    Args:
        subject: A benchmark, or ``mean``.
        arms: The runs of everything that is compared, by what it is called.
    """
    found = []
    for name, runs in arms.items():
        if runs:
            said = (_all_alike(runs, _parts(subject, runs)), _still_falling(runs))
            found += [f"of {name}, {text}" for text in said if text is not None]
    return tuple(found)


def gain_over(
    runs: Sequence[Scores], parts: Sequence[str], reference: Scores | float, num_compared: int = 1
) -> Estimate | None:
    """By how much runs of one arm score above something fixed, with an interval.

    It covers new seeds, where there are several runs, and new examples: the variances of both are
    added, less that of single answers, which is in both; degrees of freedom are Satterthwaite's.
    To each benchmark one example that is won and one that is lost are added, so that a few examples
    that all agree are not taken for certainty (as Bonett and Price, J. Educ. Behav. Stat. 37, 2012,
    do for paired shares).

    Args:
        runs: Scores by benchmark and example.
        parts: The benchmarks that are averaged over.
        reference: Scores by benchmark and example, or one score for all.
        num_compared: Arms or trials whose best this may be; the interval is Bonferroni's.

    Returns:
        None where the runs have no example of a benchmark in common with the reference.
    """
    values, variances = [], []
    for part in parts:
        difference_SE = _differences(runs, part, reference)
        num_seeds, num_examples = difference_SE.shape
        if not num_examples:
            return None
        values.append(float(difference_SE.mean()))
        per_example = np.append(difference_SE.mean(axis=0), (1.0, -1.0))
        variances.append((float(np.var(per_example)) / (num_examples + 2), num_examples + 1))
        if num_seeds > 1:
            variances.append((_variance_of_seeds(difference_SE), num_seeds - 1))
    value = math.fsum(values) / len(parts)
    variance = math.fsum(one for one, _ in variances)
    degrees = variance**2 / math.fsum(one**2 / freedom for one, freedom in variances)
    quantile = float(student.isf((1 - CONFIDENCE) / 2 / num_compared, degrees))
    half = quantile * math.sqrt(variance) / len(parts)
    return Estimate(value, max(-1.0, value - half), min(1.0, value + half))


def _variance_of_seeds(difference_SE: Array) -> float:
    """Return the variance that new seeds add to the mean beyond the noise of single answers."""
    num_seeds, num_examples = difference_SE.shape
    by_seed_S = difference_SE.mean(axis=1)
    found = float(np.var(by_seed_S, ddof=1)) / num_seeds
    if num_examples == 1:
        return found
    rest_SE = difference_SE - by_seed_S[:, None] - difference_SE.mean(axis=0) + by_seed_S.mean()
    degrees = (num_seeds - 1) * (num_examples - 1)
    return max(0.0, found - float((rest_SE**2).sum()) / degrees / num_seeds / num_examples)


def _parts(subject: str, runs: Sequence[RunFacts]) -> list[str]:
    return sorted({name for run in runs for name in run.scores}) if subject == MEAN else [subject]


def _differences(runs: Sequence[Scores], part: str, reference: Scores | float) -> Array:
    """Of shape (runs, examples), over the examples that all have a score of."""
    of_part = [run.get(part, {}) for run in runs]
    found = []
    for example in of_part[0]:
        scores = [scores.get(example) for scores in of_part]
        if isinstance(reference, float | int):
            against: float | None = reference
        else:
            against = reference.get(part, {}).get(example)
        if against is not None and None not in scores:
            found.append([score - against for score in scores if score is not None])
    return np.array(found, dtype=np.float64).reshape(-1, len(runs)).T


def _not_above(
    arms: Mapping[str, Sequence[RunFacts]],
    parts: Sequence[str],
    rows: Sequence[ReferenceRow],
    untrained: Scores | None,
    num_compared: int,
) -> str | None:
    """Each thing to beat that no arm beats."""
    open_rows = []
    for row in rows:
        paired = row.label == UNTRAINED and untrained is not None
        reference = untrained if paired and untrained is not None else row.score
        gains = [
            gain_over([run.scores for run in runs], parts, reference, num_compared)
            for runs in arms.values()
        ]
        known = [gain for gain in gains if gain is not None]
        if known and all(gain.low <= 0 for gain in known):
            open_rows.append(row)
    if not open_rows:
        return None
    best = max(_mean([run.scores for run in runs], parts) for runs in arms.values())
    unbeaten = listed([f"{_named(row.label)} ({row.score:.1%})" for row in open_rows], "or")
    return f"no rate scores clearly above {unbeaten}: the best has {best:.1%}"


def _named(label: str) -> str:
    """A row's label within a sentence."""
    if label == UNTRAINED:
        return f"the {label}"
    return label.replace("always ", "always answering ", 1)


def _all_alike(runs: Sequence[RunFacts], parts: Sequence[str]) -> str | None:
    """Runs that give one answer, or nearly one, to everything they are asked."""
    per_part = []
    for part in parts:
        given = [run.given.get(part) for run in runs]
        right = [run.right.get(part) for run in runs]
        if not all(given) or not all(
            _is_constant(some, true) for some, true in zip(given, right, strict=True)
        ):
            return None
        per_part.append(_constant_text(part, [some for some in given if some is not None]))
    where = f"in each of {len(runs)} runs" if len(runs) > 1 else "in its only run"
    return f"nearly all answers are the same {where}: {'; '.join(per_part)}"


def _mostly_alike(runs: Sequence[RunFacts], parts: Sequence[str]) -> str | None:
    """The answer that most responses of all runs give, of the benchmarks where there is one."""
    found = []
    for part in parts:
        given = [run.given[part] for run in runs if part in run.given]
        together = _together(given)
        right = _together([run.right[part] for run in runs if part in run.right])
        if not together or len(right) < 2:
            continue
        [(answer, count)] = together.most_common(1)
        if count >= MOSTLY_SAME * together.total() and count > right.get(answer, 0):
            found.append(_constant_text(part, given))
    return "; ".join(found) or None


def _together(counts: Sequence[Counter[Any]]) -> Counter[Any]:
    total: Counter[Any] = Counter()
    for some in counts:
        total.update(some)
    return total


def _is_constant(given: Counter[str | None] | None, right: Counter[str] | None) -> bool:
    # With one right answer for everything there is no other to give.
    if not given or not right or len(right) == 1:
        return False
    [(answer, count)] = given.most_common(1)
    total = given.total()
    return count >= SAME_ANSWER * total and count > right.get(answer or "", 0)


def _constant_text(part: str, given: Sequence[Counter[str | None]]) -> str:
    together = _together(given)
    [(answer, count)] = together.most_common(1)
    said = "nothing that can be read" if answer is None else f'"{_short(answer)}"'
    return f"{part} is answered {said} {count} of {together.total()} times"


def _still_falling(runs: Sequence[RunFacts]) -> str | None:
    known = [run for run in runs if run.is_falling is not None]
    falling = [run for run in known if run.is_falling]
    if not known or 2 * len(falling) <= len(known):
        return None
    pace = float(np.median([run.metrics[LATE_PACE] for run in falling]))
    return (
        f"the loss still falls at the end of training in {len(falling)} of {len(known)} "
        f"run{'s' * (len(known) > 1)}, at {pace:.0%} of its average pace, so that longer training "
        "would change the scores"
    )


def _mean(runs: Sequence[Scores], parts: Sequence[str]) -> float:
    known = [
        [score for run in runs for score in run.get(part, {}).values() if score is not None]
        for part in parts
    ]
    return math.fsum(math.fsum(some) / len(some) for some in known if some) / len(parts)


def _short(answer: str) -> str:
    line = answer.strip().partition("\n")[0]
    return line if len(line) <= 30 else f"{line[:29]}\N{HORIZONTAL ELLIPSIS}"
