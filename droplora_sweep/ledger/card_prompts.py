"""What a model card says of the prompts that a trained model answers: their text, for each task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from droplora_sweep.spec import EvaluationSpec, TaskSpec
from droplora_sweep.tasks import Example, render_prompt
from droplora_sweep.tasks.entries import find_entries

if TYPE_CHECKING:
    from collections.abc import Mapping

    from droplora_sweep.tasks import BenchmarkEntry

_QUESTIONS = {
    "number": "Ann has 3 apples and buys 4 more. How many apples has she now?",
    "math": "Compute $3 + 4$.",
    "code": "Write a Python function double(x) that returns twice x.",
}
"""An instruction of each kind; a card shows no example of its data, which may be private."""


@dataclass(frozen=True)
class TaskPrompt:
    """How one benchmark asks, and how long its responses may be.

    Attributes:
        name: The benchmark's.
        template: Text with ``{instruction}``, and ``{input}`` or not, up to the response.
        template_with_input: The same for examples with an input.
        max_new_tokens: The longest response.
        question: An instruction as the benchmark might have it.
        options: What a response to a multiple-choice question names one of.
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
        return render_prompt(marks, entry.prompt_suffix, task.prompt)

    limit = evaluation.max_new_tokens
    return TaskPrompt(
        name,
        template("").replace("{input}", ""),
        template("{input}"),
        min(limit, entry.max_new_tokens or limit),
        _question(entry),
        entry.options if entry.scoring == "choice" else (),
    )


def _question(entry: BenchmarkEntry) -> str:
    if entry.scoring == "choice":
        given = " ".join(f"{name}: {name} itself" for name in entry.options)
        options = "/".join(entry.options)
        return f"Which of these comes first?\n\n{given}\n\nAnswer format: {options}"
    return _QUESTIONS.get(entry.scoring or "", "Name three colours.")


def prompt_text(spec: Mapping[str, Any]) -> str:
    """The card's section on prompts, as Markdown; "" where no benchmark is known here."""
    prompts = task_prompts(spec)
    if not prompts:
        return ""
    first = prompts[0]
    parts = [
        "## Prompt\n",
        f"It was trained and scored on prompts of the form below, here one as {first.name} has "
        "them: a chat template is not used. The snippet has the exact text of each benchmark's "
        "prompts, with their last characters.\n",
        f"```text\n{first.rendered}\n```\n",
    ]
    parts += [
        f"A response to {one.name} names one of {', '.join(f'`{each}`' for each in one.options)}.\n"
        for one in prompts
        if one.options
    ]
    if spec["evaluation"].get("choice") == "score" and any(one.options for one in prompts):
        parts.append(
            "The options of multiple-choice questions were not generated but compared by their "
            "probability, so a generated answer may be another one than the score is of.\n"
        )
    return "\n".join(parts) + "\n"
