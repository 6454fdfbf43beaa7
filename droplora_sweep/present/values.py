"""Numbers, settings and commands as text; scores are fractions and are shown in percent."""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from droplora_sweep.analysis.estimate import Estimate
from droplora_sweep.scorers.table import is_graded
from droplora_sweep.spec.metric_names import is_likelihood
from droplora_sweep.storage.mirror import storage_name
from droplora_sweep.storage.object_store import is_url

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime


T = TypeVar("T")

DASH = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
SHORT_NAMES = {"learning_rate": "lr", "pruning_rate": "p", "rank": "r"}
DEFAULT_STORAGE = "results"


def score_word(task: Mapping[str, Any]) -> str:
    """Return the word for a task's scores: accuracy, unless a response may be right in part.

    Args:
        task: A task as ledgers have it.

    >>> score_word({"benchmark_specs": {"news": {"scoring": "bleu"}}})
    'score'
    """
    specs = (task.get("benchmark_specs") or {}).values()
    scorings = [task.get("scoring"), *(one.get("scoring") for one in specs)]
    return "score" if any(one is not None and is_graded(one) for one in scorings) else "accuracy"


def format_score(value: Estimate | float | None) -> str:
    """Return an accuracy: ``61.1 %``."""
    number = value.value if isinstance(value, Estimate) else value
    return DASH if number is None or math.isnan(number) else f"{100 * number:.1f} %"


def format_metric(metric: str, value: float | None) -> str:
    """Return what a search follows: a score in percent, or bits per byte.

    >>> format_metric("val/mean", 0.611), format_metric("bits_per_byte/val/mean", 0.0415)
    ('61.1 %', '0.0415')
    """
    if not is_likelihood(metric) or value is None or math.isnan(value):
        return format_score(value)
    return f"{value:.4f}"


def format_interval(value: Estimate | float | None) -> str:
    """Return the interval of a score: ``[53.4, 68.0]``; "" without one."""
    if not isinstance(value, Estimate):
        return ""
    return f"[{100 * value.low:.1f}, {100 * value.high:.1f}]"


def format_gain(gain: Estimate | None) -> str:
    """Return a difference in percentage points: ``+1.4 points [+0.2, +2.6]``."""
    return DASH if gain is None else gain.as_difference.replace("-", MINUS)


def format_probability(value: float | None) -> str:
    """Return a probability: ``87 %``, never 0 or 100 where it is neither."""
    if value is None or math.isnan(value):
        return DASH
    if 0 < value < 0.01:
        return "< 1 %"
    if 0.99 < value < 1:
        return "> 99 %"
    return f"{value:.0%}".replace("%", " %")


def format_ratio(ratio: float | None) -> str:
    """Return a factor: ``1.04x``."""
    return DASH if ratio is None or math.isnan(ratio) else f"{ratio:.3g}x"


def format_seconds(seconds: float | None) -> str:
    """Return a duration: ``8.2 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if seconds is None:
        return DASH
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def format_hours(hours: float) -> str:
    """Return a number of hours: ``<0.001``, ``0.0041``, ``1.25``, ``310``.

    >>> format_hours(0.0001), format_hours(0.0041), format_hours(1.254), format_hours(310.4)
    ('<0.001', '0.0041', '1.25', '310')
    """
    if 0 < hours < 0.001:
        return "<0.001"
    if 0 < hours < 0.1:
        return f"{hours:.2g}"
    digits = 2 if hours < 10 else 1 if hours < 100 else 0
    return f"{round(hours, digits):,g}"


def format_time(time: datetime) -> str:
    """Return a time: ``2026-11-22 10:55 UTC``."""
    return f"{time:%Y-%m-%d %H:%M} UTC"


def format_bytes(num_bytes: float) -> str:
    """Return a size: ``512 B``, ``1.5 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.1f} TB"


def format_count(count: int) -> str:
    """Return a count with the field's suffixes: ``56.10M``."""
    for size, suffix in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.2f}{suffix}"
    return str(count)


def format_quantity(value: float) -> str:
    """Return a measured number with three significant digits: ``4,010``, ``0.766``."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"


def format_value(value: object) -> str:
    """Return a searched value: numbers with at most three significant digits."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def format_params(params: Mapping[str, object]) -> str:
    """Return searched values by short names: ``r=8 p=0.2 lr=0.003``."""
    names = {path: path.rpartition(".")[2] for path in params}
    return " ".join(
        f"{SHORT_NAMES.get(name, name)}={format_value(params[path])}"
        for path, name in names.items()
    )


def format_span(ends: tuple[T, T], write: Callable[[T], str]) -> str:
    """Return one number, or the lowest and the highest.

    >>> format_span((6, 9), str), format_span((4, 4), str)
    ('6 to 9', '4')
    """
    low, high = ends
    return write(low) if low == high else f"{write(low)} to {write(high)}"


def plural(count: int, name: str) -> str:
    """Return a count with its noun.

    >>> plural(1, "seed"), plural(3, "seed")
    ('1 seed', '3 seeds')
    """
    return f"{count} {name}{'s' * (count != 1)}"


def visible(text: str) -> str:
    r"""Return a text of unknown origin with what moves a terminal's cursor, or hides, spelled out.

    >>> visible("a\x1b[2Jb\u202ec")
    'a\\u001b[2Jb\\u202ec'
    """
    return "".join(
        each if each.isprintable() or each == "\n" else f"\\u{ord(each):04x}" for each in text
    )


def excerpt(text: str, most: int) -> str:
    r"""Return a text of unknown origin in one visible line, without its middle where it is long.

    >>> excerpt("two\n words", 20), excerpt("0123456789" * 3, 12)
    ('two words', '01234567 … 6789')
    """
    line = visible(" ".join(text.split()))
    if len(line) <= most:
        return line
    end = most // 3
    return f"{line[: most - end]} … {line[-end:]}"


def storage_text(storage: Path) -> str:
    """Return a storage as a user would give it here: a URL, or a folder."""
    name = storage_name(storage)
    if is_url(name) or not storage.is_relative_to(Path.cwd()):
        return name
    return str(storage.relative_to(Path.cwd()))


def command_text(*words: str, storage: str = DEFAULT_STORAGE) -> str:
    """Return a command to copy into a shell, with ``--storage`` where it is not the default."""
    where = [] if storage == DEFAULT_STORAGE else ["--storage", storage]
    return shlex.join(["droplora-sweep", *words, *where])
