"""The README.md that goes with what a trial saves: an adapter, or a full model.

Its text is the template ``model_card.md.j2``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import yaml

from droplora_sweep.spec import AdapterSpec, EvaluationSpec, ModelSpec, TaskSpec
from droplora_sweep.spec.methods import method_of
from droplora_sweep.spec.metric_names import (
    PERPLEXITY_AFTER,
    PERPLEXITY_BEFORE,
    PERPLEXITY_RATIO,
    score_name,
    subject_of,
)
from droplora_sweep.spec.task import CHAT
from droplora_sweep.tasks.entries import find_entries
from droplora_sweep.tasks.task import CHAT_DATE, Example, render_prompt, user_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    import jinja2

    from droplora_sweep.records.trial import TrialRecord
    from droplora_sweep.tasks.registry import BenchmarkEntry

TEMPLATE = "model_card.md.j2"

_MASKS = {
    "token": "mask per token",
    "sample": "mask per sequence",
    "step": "mask per step",
    "learned": "learned mask",
}


class Form(StrEnum):
    """Kind of the files beside a card."""

    ADAPTER = "adapter"
    """As the trial left them: an adapter, or the whole model of a trial without one."""
    WHOLE = "whole"
    """A whole model that was trained."""
    MERGED = "merged"
    """The base model with the adapter's update in its weights."""
    GGUF = "gguf"
    """A LoRA adapter as llama.cpp's ``convert_lora_to_gguf.py`` reads it."""


def model_card(
    trial: TrialRecord,
    sweep_name: str,
    metrics: Mapping[str, float],
    *,
    form: Form = Form.ADAPTER,
    intervals: Mapping[str, tuple[float, float]] | None = None,
    data: Mapping[str, str] | None = None,
    test: Mapping[str, tuple[float, float, float]] | None = None,
    fidelity: str | None = None,
) -> str:
    """Markdown with the metadata the Hugging Face Hub reads, settings, scores and how to load.

    Args:
        trial: The trained trial.
        sweep_name: Its sweep's.
        metrics: Metrics that the trial ended with.
        form: Kind of the files beside the card.
        intervals: 95 % interval of a score, by benchmark.
        data: Digest of each split, by ``<benchmark>/<split>``.
        test: Score on the test split with its 95 % interval, by benchmark; of winners alone.
        fidelity: What it was trained on, in words, where that is less than the sweep's runs are.
    """
    adapter = AdapterSpec.model_validate(trial.spec["adapter"])
    model = ModelSpec.model_validate(trial.spec["model"])
    method = method_of(adapter.method)
    if not method.has_rank:
        form = Form.WHOLE
    # A confirmation run is scored on examples of its own.
    of_splits = (score_name(""), score_name("", "confirmation"))
    scored = sorted(name for name in metrics if name.startswith(of_splits))
    known = {name: each for name, each in (intervals or {}).items() if not math.isnan(each[0])}
    return _template().render(
        head=yaml.safe_dump(_metadata(adapter, model, form), sort_keys=False),
        trial=trial,
        sweep=sweep_name,
        spec=trial.spec,
        adapter=adapter,
        model=model,
        form=form.value,
        title=_title(adapter),
        saved_as=method.saved_as,
        scores=[(subject_of(name), metrics[name]) for name in scored],
        has_intervals=bool(intervals),
        intervals=known,
        has_perplexity=PERPLEXITY_RATIO in metrics,
        perplexity=(metrics.get(PERPLEXITY_BEFORE), metrics.get(PERPLEXITY_AFTER)),
        test=test,
        fidelity=fidelity,
        settings=yaml.safe_dump(dict(trial.spec), sort_keys=False),
        data=data,
        prompts=task_prompts(trial.spec),
        date=CHAT_DATE,
    )


@cache
def _template() -> jinja2.Template:
    import jinja2

    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["repr"] = repr
    return environment.from_string(files(__package__).joinpath(TEMPLATE).read_text("utf-8"))


def _metadata(adapter: AdapterSpec, model: ModelSpec, form: Form) -> dict[str, Any]:
    tags = sorted({"lora", adapter.method, *(("droplora",) if adapter.is_pruned else ())})
    if form in (Form.WHOLE, Form.MERGED):
        return {
            "base_model": model.path,
            "base_model_relation": "finetune",
            "library_name": "transformers",
            "tags": ["full-fine-tuning"] if form is Form.WHOLE else tags,
        }
    return {
        "base_model": model.path,
        "library_name": "peft",
        "tags": tags,
        "pruning_rate": adapter.pruning_rate,
        "mask": adapter.mask,
    }


def _title(adapter: AdapterSpec) -> str:
    """The method as the literature writes it, and how it was pruned."""
    method = method_of(adapter.method)
    if not method.has_rank:
        return method.title
    if not adapter.is_pruned:
        return f"{method.title} (no pruning)"
    pruned = "DropLoRA" if method.is_lora else f"{method.title} with the mask of DropLoRA"
    modules = "".join(
        f", {rate:g} in {module}" for module, rate in adapter.module_pruning_rates.items()
    )
    schedule = adapter.pruning_schedule
    rise = "" if schedule == "constant" else f", {schedule} schedule"
    return (
        f"{pruned} (pruning rate {adapter.pruning_rate:g}{modules}{rise}, {_MASKS[adapter.mask]})"
    )


@dataclass(frozen=True)
class TaskPrompt:
    """Prompts of one benchmark, and the longest response to them.

    Attributes:
        name: The benchmark's.
        template: Text with ``{instruction}``, and ``{input}`` or not, up to the response; of a chat
            template, what a user says.
        template_with_input: The same for examples with an input.
        max_new_tokens: The longest response.
        question: An instruction as the benchmark might have it.
        options: Names of a multiple-choice question's options; a response has one of them.
    """

    name: str
    template: str
    template_with_input: str
    max_new_tokens: int
    question: str
    options: tuple[str, ...]

    @property
    def rendered(self) -> str:
        """The prompt of the question."""
        return self.template.replace("{instruction}", self.question)


def task_prompts(spec: Mapping[str, Any]) -> list[TaskPrompt]:
    """The prompts of a trial's benchmarks, by what its spec says; no data is read.

    Args:
        spec: A ``TrialSpec`` as JSON values.

    Returns:
        In the order of the benchmarks; without those of a plug-in that is not installed here.
    """
    task = TaskSpec.model_validate(spec["task"])
    evaluation = EvaluationSpec.model_validate(spec["evaluation"])
    entries, _ = find_entries(task)
    return [_prompt(name, entry, task, evaluation) for name, entry in entries.items()]


def _prompt(
    name: str, entry: BenchmarkEntry, task: TaskSpec, evaluation: EvaluationSpec
) -> TaskPrompt:
    def template(given: str) -> str:
        marks = Example(instruction="{instruction}", input=given, output="", answer="")
        if task.prompt == CHAT:
            return user_text(marks, marks.instruction, entry.prompt_suffix)
        return render_prompt(marks, entry.prompt_suffix, task.prompt)

    limit = evaluation.max_new_tokens
    return TaskPrompt(
        name,
        template("").replace("{input}", ""),
        template("{input}"),
        min(limit, entry.max_new_tokens or limit),
        entry.scorer.sample_question(),
        entry.scorer.closed_answers,
    )
