"""The numbers of the DropLoRA paper (arXiv 2508.17337), to be shown beside a sweep's own.

`paper_results.json` holds Tables 1 to 5 as printed; Figures 2 and 3 are given as pictures alone.
Each number is of one training run, scored on the test split.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class PaperResult:
    """One row of a table.

    Attributes:
        source: The table.
        model: ``LLaMA2-7B`` or ``LLaMA3-8B``.
        method: As in ``adapter.method``.
        own_run: Whether the authors trained it; else they cite it from another paper.
        scores: By benchmark: accuracy or pass@1 in percent, ``mt_bench`` a rating from 1 to 10;
            ``mean`` is the average that is printed.
        rank: Where the table gives it; else that of the paper's Table 7.
        pruning_rate: Where the table gives it; the others say only "0.1 to 0.5".
    """

    source: str
    model: str
    method: str
    own_run: bool
    scores: Mapping[str, float]
    rank: int | None = None
    pruning_rate: float | None = None


@cache
def paper_results() -> tuple[PaperResult, ...]:
    """Every row of the paper's tables of results, in its order."""
    text = files("droplora_sweep.selection").joinpath("paper_results.json").read_text("utf-8")
    return tuple(PaperResult(**row) for row in json.loads(text)["results"])
