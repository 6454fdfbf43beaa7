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
    from typing import Any

MODELS = {"llama-2-7b-hf": "LLaMA2-7B", "meta-llama-3-8b": "LLaMA3-8B"}
"""The paper's names of models, by the last part of their path in lower case."""

COMMONSENSE = (
    "boolq",
    "piqa",
    "siqa",
    "hellaswag",
    "winogrande",
    "arc_easy",
    "arc_challenge",
    "openbookqa",
)


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


@dataclass(frozen=True)
class _Setting:
    """Data and rank of a table (Table 7).

    Attributes:
        benchmarks: Its columns.
        mixtures: What may be trained on, by name; None for the benchmarks' own training sets.
        rank: Of every adapter.
    """

    benchmarks: tuple[str, ...]
    mixtures: tuple[str | None, ...]
    rank: int


_SETTINGS = {
    "Table 1": _Setting(COMMONSENSE, (None, "commonsense_170k"), 32),
    "Table 2": _Setting(("gsm8k", "math"), ("metamathqa",), 64),
    "Table 3": _Setting(("humaneval", "mbpp"), ("codefeedback_python",), 32),
    "Table 4": _Setting(("mt_bench",), ("evol_instruct",), 32),
}


def paper_result(trial: Mapping[str, Any]) -> PaperResult | None:
    """The paper's row of the same model, data, method and rank; of several the authors' own run.

    Args:
        trial: A ``TrialSpec`` as JSON values; trained on all of its data.
    """
    model = MODELS.get(str(trial["model"]["path"]).rstrip("/").rpartition("/")[2].lower())
    task = trial["task"]
    mixture = (task.get("train") or {}).get("name")
    method = _method(trial["adapter"])
    for source, setting in _SETTINGS.items():
        if (
            set(task["benchmarks"]) == set(setting.benchmarks)
            and mixture in setting.mixtures
            and task.get("num_train") is None
            and (trial["adapter"]["rank"] == setting.rank or method == "full")
        ):
            rows = [
                row
                for row in paper_results()
                if (row.source, row.model, row.method) == (source, model, method)
            ]
            return max(rows, key=lambda row: row.own_run, default=None)
    return None


def _method(adapter: Mapping[str, Any]) -> str | None:
    """As the paper has it: nothing but LoRA is pruned there."""
    method, is_pruned = str(adapter["method"]), adapter["pruning_rate"] > 0
    if method in ("lora", "droplora"):
        return "droplora" if is_pruned else "lora"
    return None if is_pruned else method
