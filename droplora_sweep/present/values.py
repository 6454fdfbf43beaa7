"""Numbers, and schedules of a population's members, in words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

from rich.table import Table

from droplora_sweep.spec.metric_names import PERPLEXITY_AFTER, PERPLEXITY_BEFORE, PERPLEXITY_RATIO

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from droplora_sweep.records.trial import SweepRecord
    from droplora_sweep.spec import ExploitStep, Scalar


T = TypeVar("T")

UNKNOWN = "-"
SHORT_NAMES = {"learning_rate": "lr", "pruning_rate": "p", "rank": "r"}


def format_score(score: float | None) -> str:
    """An accuracy in [0, 1] as a percentage."""
    return UNKNOWN if score is None or math.isnan(score) else f"{100 * score:.1f}"


def format_ratio(ratio: float | None) -> str:
    """How many times as large something is as before: ``1.04x``."""
    return UNKNOWN if ratio is None or math.isnan(ratio) else f"{ratio:.3g}x"


def format_seconds(seconds: float | None) -> str:
    """A duration: ``8.2 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if seconds is None:
        return UNKNOWN
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def format_bytes(num_bytes: float) -> str:
    """A size: ``512 B``, ``1.5 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.1f} TB"


def format_count(count: int) -> str:
    """A count with the field's suffixes: ``56.10M``."""
    for size, suffix in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.2f}{suffix}"
    return str(count)


def format_value(value: object) -> str:
    """A searched value: numbers with at most three significant digits."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def format_params(params: Mapping[str, object]) -> str:
    """Searched values by short names: ``r=8 p=0.2 lr=0.003``."""
    names = {path: path.rpartition(".")[2] for path in params}
    return " ".join(
        f"{SHORT_NAMES.get(name, name)}={format_value(params[path])}"
        for path, name in names.items()
    )


def perplexity_text(metrics: Mapping[str, float]) -> str:
    """The perplexity of a held-out text, before and after where both are known."""
    if "perplexity" in metrics:
        return f"perplexity of the held-out text: {metrics['perplexity']:.4g}"
    before, after = metrics[PERPLEXITY_BEFORE], metrics[PERPLEXITY_AFTER]
    ratio = metrics[PERPLEXITY_RATIO]
    return f"perplexity of the held-out text: {before:.4g} before, {after:.4g} after ({ratio:.3f}x)"


def long_prompts_text(num_long: Mapping[str, float], on_long_prompt: str) -> list[str]:
    """One line per benchmark with prompts that the context cannot hold."""
    done = {"drop": "left out", "truncate": "truncated"}[on_long_prompt]
    return [
        f"{name}: {number:,.0f} prompts longer than the model's context are {done}"
        for name, number in num_long.items()
    ]


def format_span(ends: tuple[T, T], write: Callable[[T], str]) -> str:
    """One number, or the lowest and the highest.

    >>> format_span((6, 9), str), format_span((4, 4), str)
    ('6 to 9', '4')
    """
    low, high = ends
    return write(low) if low == high else f"{write(low)} to {write(high)}"


def exploit_text(evaluation: int, source: str, settings: Mapping[str, Scalar]) -> str:
    """One turn.

    >>> exploit_text(2, "t0001-3f2a91bc", {"adapter.pruning_rate": 0.4})
    'from evaluation 2 copied t0001, pruning_rate=0.4'
    """
    short = source.partition("-")[0]
    return f"from evaluation {evaluation} copied {short}, {format_params(settings)}"


def schedule_texts(schedule: Sequence[ExploitStep]) -> list[str]:
    """The exploit steps of `TrialRecord.schedule`, in order."""
    return [exploit_text(each.evaluation, str(each.source), each.settings) for each in schedule]


def schedules_table(record: SweepRecord) -> Table | None:
    """Every member of a population with its schedule, best first; None without a population."""
    if record.spec["search"].get("population") is None:
        return None
    metric = record.spec["search"]["metric"]
    members = [
        trial for trial in record.search_trials if trial.clone_of is None and trial.origin is None
    ]
    table = Table(title=f"Population of {record.name}: schedules by {metric} in %")
    table.add_column("trial", no_wrap=True)
    table.add_column(metric, justify="right")
    table.add_column("began with")
    table.add_column("then")
    unscored = float("-inf")
    for trial in sorted(members, key=lambda each: -each.metrics.get(metric, unscored)):
        table.add_row(
            trial.trial_id.partition("-")[0],
            format_score(trial.metrics.get(metric)),
            format_params(trial.params),
            "; ".join(schedule_texts(trial.schedule)) or "kept them",
        )
    return table
