"""A report's tables and figures for other programs: what its page shows, as JSON."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from droplora_sweep.present.contents.table import Table, table_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from droplora_sweep.present.figures.canvas import Described


def report_data(
    name: str,
    tables: Iterable[Table | Sequence[Table] | None],
    figures: Mapping[str, Sequence[Described]],
    advice: str = "",
) -> str:
    """Return a JSON object with ``name``, ``advice``, ``tables`` and ``figures``.

    Scores are fractions, times hours; null stands where there is no value, and for infinity.

    Args:
        name: Of the sweep.
        tables: In the order of the page; those without rows are left out.
        figures: Panels of each figure by its name; a panel has its fields, and ``alt``, the same
            in words.
        advice: The answer in a sentence.
    """
    flat: list[Table] = []
    for one in tables:
        if one is not None:
            flat += [one] if isinstance(one, Table) else one
    content = {
        "name": name,
        "advice": advice,
        "tables": [table_json(one) for one in flat if one.rows],
        "figures": {key: [_panel(one) for one in panels] for key, panels in figures.items()},
    }
    return json.dumps(_finite(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _panel(panel: Any) -> dict[str, Any]:
    return {**asdict(panel), "alt": panel.alt}


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
