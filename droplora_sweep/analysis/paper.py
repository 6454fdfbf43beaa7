"""The numbers of the DropLoRA paper (arXiv 2508.17337), to be shown beside a sweep's own.

`paper_results.json` holds Tables 1 to 5 as printed; Figures 2 and 3 are given as pictures alone.
Each number is of one training run, scored on the test split.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from droplora_sweep.spec.methods import method_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
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

RATED = "mt_bench_first_turn"
MAX_NEW_TOKENS = 2048
_READ_BY = ("scoring", "options", "pattern", "prompt_suffix", "fields")
"""Fields of a benchmark's spec that change what is asked or how an answer is read."""


@dataclass(frozen=True)
class PaperResult:
    """One row of a table.

    Attributes:
        source: The table.
        model: ``LLaMA2-7B`` or ``LLaMA3-8B``.
        method: As in ``adapter.method``.
        own_run: True of a run of the authors'; else they cite it from another paper.
        scores: By benchmark: accuracy or pass@1 in percent, MT-Bench a rating from 1 to 10;
            ``mean`` is the average that is printed.
        rank: The table's, where it gives one; else that of the paper's Table 7.
        pruning_rate: The table's, where it gives one; the others say only "0.1 to 0.5".
    """

    source: str
    model: str
    method: str
    own_run: bool
    scores: Mapping[str, float]
    rank: int | None = None
    pruning_rate: float | None = None

    def percent(self, benchmark: str) -> float | None:
        """A score as ours is shown, of a rating its tenth; None where the table has none."""
        score = self.scores.get(benchmark)
        return 10 * score if score is not None and benchmark == RATED else score


@cache
def paper_results() -> tuple[PaperResult, ...]:
    """Every row of the paper's tables of results, in its order."""
    text = files("droplora_sweep.analysis").joinpath("paper_results.json").read_text("utf-8")
    return tuple(PaperResult(**row) for row in json.loads(text)["results"])


@dataclass(frozen=True)
class _Setting:
    """Data, protocol and rank of a table's numbers (Table 7 and the released code).

    Attributes:
        benchmarks: Its columns.
        mixtures: Training sets it allows, by name; None for the benchmarks' own.
        epochs: Of training.
        rank: Of every adapter.
        max_new_tokens: A response may be as long; None where answers are a word.
    """

    benchmarks: tuple[str, ...]
    mixtures: tuple[str | None, ...]
    epochs: int
    rank: int
    max_new_tokens: int | None = MAX_NEW_TOKENS


_SETTINGS = {
    "Table 1": _Setting(COMMONSENSE, (None, "commonsense_170k"), 3, 32, max_new_tokens=None),
    "Table 2": _Setting(("gsm8k", "math"), ("metamathqa",), 1, 64),
    "Table 3": _Setting(("humaneval", "mbpp_evalplus"), ("codefeedback_python",), 3, 32),
    "Table 4": _Setting((RATED,), ("evol_instruct",), 3, 32),
}
_OTHER_SETS = {
    "mbpp": (
        "Table 3",
        "the paper's MBPP is the 378 problems that EvalPlus keeps (`mbpp_evalplus`), and `mbpp` "
        "has the 500 of MBPP's test split",
    ),
    "mt_bench": (
        "Table 4",
        "the paper's MT-Bench is 80 first turns, rated without references (`mt_bench_first_turn`), "
        "and `mt_bench` has both turns and references",
    ),
}
"""Benchmarks whose name the paper has too, for another set or protocol, with its table."""


@dataclass(frozen=True)
class PaperComparison:
    """The paper's numbers for a trial's model, method and benchmarks.

    Attributes:
        result: Its row, with the scores of the trial's benchmarks alone; None where a difference
            makes them numbers of something else.
        differences: Deviations from the paper's set, protocol, epochs and data.
        other_sets: Benchmarks of the trial that the paper has no number of, and why not.
    """

    result: PaperResult | None
    differences: tuple[str, ...] = ()
    other_sets: tuple[str, ...] = ()


def compare_with_paper(trial: Mapping[str, Any]) -> PaperComparison | None:
    """The paper's row of the same model and method, if all that it is a number of is the same.

    Of several rows it is the authors' own run.

    Args:
        trial: A ``TrialSpec`` as JSON values.

    Returns:
        None where the paper has no number that one could look for.
    """
    model = MODELS.get(str(trial["model"]["path"]).rstrip("/").rpartition("/")[2].lower())
    method = _method(trial["adapter"])
    names = tuple(trial["task"]["benchmarks"])
    source = _table(names)
    rows = [
        row
        for row in paper_results()
        if (row.source, row.model, row.method) == (source, model, method)
    ]
    if source is None or not rows:
        return None
    setting = _SETTINGS[source]
    other_sets = tuple(
        reason for name, (table, reason) in _OTHER_SETS.items() if name in names and table == source
    )
    differences = tuple(_differences(trial, setting, method))
    shown = [name for name in setting.benchmarks if name in names]
    if differences or not shown:
        return PaperComparison(None, differences, other_sets)
    row = max(rows, key=lambda row: row.own_run)
    if len(shown) == len(setting.benchmarks):
        shown.append("mean")
    scores = {name: row.scores[name] for name in shown if name in row.scores}
    return PaperComparison(replace(row, scores=scores), (), other_sets)


def _table(names: Sequence[str]) -> str | None:
    """The table that has most of the benchmarks, by name or under another set's."""
    counts = {
        source: sum(
            name in setting.benchmarks or _OTHER_SETS.get(name, ("",))[0] == source
            for name in names
        )
        for source, setting in _SETTINGS.items()
    }
    source = max(counts, key=lambda source: counts[source])
    return source if counts[source] else None


def _differences(trial: Mapping[str, Any], setting: _Setting, method: str | None) -> Iterator[str]:
    """One phrase each, ours before the paper's."""
    task, evaluation = trial["task"], trial.get("evaluation") or {}
    names = task["benchmarks"]
    mixture = (task.get("train") or {}).get("name")
    if mixture not in setting.mixtures:
        wanted = " or ".join(one or "the benchmarks' own training sets" for one in setting.mixtures)
        yield f"trained on {mixture or 'the own training sets'}, the paper's on {wanted}"
    elif mixture is None and set(names) != set(setting.benchmarks):
        yield (
            f"trained on the training sets of {', '.join(names)}, the paper's on those of all "
            f"{len(setting.benchmarks)} benchmarks"
        )
    if task.get("num_train") is not None:
        yield f"`num_train: {task['num_train']}`, the paper's is trained on all examples"
    epochs = (trial.get("training") or {}).get("epochs", setting.epochs)
    if epochs != setting.epochs:
        yield f"{_epochs(epochs)}, the paper's {_epochs(setting.epochs)}"
    if trial["adapter"]["rank"] != setting.rank and method_of(trial["adapter"]["method"]).has_rank:
        yield f"rank {trial['adapter']['rank']}, the paper's {setting.rank}"
    if trial["model"].get("quantization", "none") != "none":
        yield f"the base model in {trial['model']['quantization']}, the paper's in 16 bits"
    if task.get("num_test") is not None:
        yield f"`num_test: {task['num_test']}`, the paper's is scored on all test examples"
    yield from _protocol_differences(task, evaluation, setting)


def _protocol_differences(
    task: Mapping[str, Any], evaluation: Mapping[str, Any], setting: _Setting
) -> Iterator[str]:
    if task.get("prompt") is not None:
        yield "asked by a prompt of its own"
    own = task.get("benchmark_specs") or {}
    for name in setting.benchmarks:
        changed = [field for field in _READ_BY if (own.get(name) or {}).get(field)]
        if name in task["benchmarks"] and changed:
            yield f"{name} with its own {', '.join(f'`{field}`' for field in changed)}"
    protocol = evaluation.get("protocol", "paper")
    if protocol != "paper":
        yield f"answers read by `protocol: {protocol}`, the paper's by its own rules"
    if setting.max_new_tokens is None:
        if evaluation.get("choice", "generate") == "score":
            yield "options compared by their probabilities, the paper's answers are decoded"
    elif evaluation.get("max_new_tokens", setting.max_new_tokens) < setting.max_new_tokens:
        yield (
            f"responses end after {evaluation['max_new_tokens']:,} tokens, the paper's after "
            f"{setting.max_new_tokens:,}"
        )
    if evaluation.get("sampling") is not None:
        yield "several programs drawn for each problem, the paper's is decoded greedily"
    judge = evaluation.get("judge")
    if RATED in setting.benchmarks and judge and not judge["model"].startswith("gpt-4"):
        yield f"rated by {judge['model']}, the paper's by GPT-4"


def _epochs(number: float) -> str:
    return f"{number} epoch" if number == 1 else f"{number} epochs"


def _method(adapter: Mapping[str, Any]) -> str | None:
    """As the paper has it: nothing but LoRA is pruned there."""
    method, is_pruned = str(adapter["method"]), adapter["pruning_rate"] > 0
    if method_of(method).is_lora:
        return "droplora" if is_pruned else "lora"
    return None if is_pruned else method
