"""Sections of a model card: the prompts a model answers, and how its files are loaded."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from droplora_sweep.spec import EvaluationSpec, TaskSpec
from droplora_sweep.tasks.entries import find_entries
from droplora_sweep.tasks.task import Example, render_prompt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from droplora_sweep.spec import ModelSpec
    from droplora_sweep.tasks.registry import BenchmarkEntry


@dataclass(frozen=True)
class TaskPrompt:
    """Prompts of one benchmark, and the longest response to them.

    Attributes:
        name: The benchmark's.
        template: Text with ``{instruction}``, and ``{input}`` or not, up to the response.
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


BUILTIN = "builtin"
"""Path of the model that comes with this package, which only an installation of it has."""


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


_ADAPTER = """\
model = AutoModelForCausalLM.from_pretrained(base{options}, dtype="{dtype}")
model = PeftModel.from_pretrained(model, folder{precision}).eval()
tokenizer = AutoTokenizer.from_pretrained(base{options})
"""

_WHOLE = """\
model = AutoModelForCausalLM.from_pretrained(folder{code}, dtype="{dtype}").eval()
tokenizer = AutoTokenizer.from_pretrained(base{options})
"""

_MERGED = """\
model = AutoModelForCausalLM.from_pretrained(folder{code}, dtype="{dtype}").eval()
tokenizer = AutoTokenizer.from_pretrained(folder)
"""

_ANSWER = """

TASKS = {tasks}


def answer(instruction, context="", task={task!r}):
    parts = {{"{{instruction}}": instruction, "{{input}}": context}}
    template = TASKS[task]["prompt with input" if context else "prompt"]
    prompt = re.sub("{{instruction}}|{{input}}", lambda mark: parts[mark[0]], template)
    tokens = tokenizer(prompt)["input_ids"]
    if tokens[-1] == tokenizer.eos_token_id:  # which some tokenizers append
        tokens = tokens[:-1]
    ends = model.generation_config.eos_token_id
    ends = {{tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])}} - {{None}}
    tokens = torch.tensor([tokens])
    output = model.generate(
        input_ids=tokens,
        attention_mask=torch.ones_like(tokens),
        max_new_tokens=TASKS[task]["max_new_tokens"],
        do_sample=False,
        num_beams=1,
        repetition_penalty=1.0,
        no_repeat_ngram_size=0,
        eos_token_id=sorted(ends),
        pad_token_id=min(ends),
    )
    return tokenizer.decode(output[0, tokens.shape[1] :], skip_special_tokens=True)


print(answer({question!r}))
"""

_GGUF = """\
`adapter_model.safetensors` and `adapter_config.json` are what llama.cpp's converter reads; `base`
has the configuration and the tokenizer of the base model, without its weights. The converter comes
with llama.cpp's sources; it was not run to make this folder.

```bash
python convert_lora_to_gguf.py --base path/of/this/folder/base path/of/this/folder
llama-cli --model the-base-model.gguf --lora the-file-it-wrote.gguf
```"""

_SNIPPETS = {Form.ADAPTER: _ADAPTER, Form.WHOLE: _WHOLE, Form.MERGED: _MERGED}


def loading_text(form: Form, model: ModelSpec, prompts: Sequence[TaskPrompt]) -> str:
    """Return Markdown that shows how to load files of this form and have them answer.

    Args:
        form: Kind of the files.
        model: The base model.
        prompts: Of the benchmarks that were trained on; the snippet asks the first one's question.
    """
    if form is Form.GGUF:
        return _GGUF
    code = ", trust_remote_code=True" if model.trust_remote_code else ""
    revision = f", revision={model.revision!r}" if model.revision else ""
    loading = _SNIPPETS[form].format(
        options=f"{revision}{code}",
        code=code,
        dtype=model.dtype,
        # PEFT would load a bfloat16 adapter in float32, and its scores would differ.
        precision="" if model.dtype == "float32" else ", autocast_adapter_dtype=False",
    )
    names = ["AutoModelForCausalLM", "AutoTokenizer"]
    head = [f"from transformers import {', '.join(names)}", "", 'folder = "path/of/this/folder"']
    if form is Form.ADAPTER:
        head.insert(0, "from peft import PeftModel")
    if prompts:
        head.insert(0, "import torch")
    standard = ["import re"] if prompts else []
    if form is not Form.MERGED:
        if model.path == BUILTIN:
            standard.append("from importlib.resources import files")
            head.append('base = str(files("droplora_sweep") / "models" / "builtin")')
        else:
            head.append(f"base = {model.path!r}")
    lines = [*standard, *([""] if standard else []), *head]
    text = "\n".join(lines) + "\n" + loading
    if prompts:
        text += _ANSWER.format(
            tasks=_tasks(prompts), task=prompts[0].name, question=prompts[0].question
        )
    return f"```python\n{text}```"


def _tasks(prompts: Sequence[TaskPrompt]) -> str:
    """Python source of the benchmarks' prompts, and of the longest response to each."""
    lines = ["{"]
    for one in prompts:
        lines += [
            f"    {one.name!r}: {{",
            f"        'prompt': {one.template!r},",
            f"        'prompt with input': {one.template_with_input!r},",
            f"        'max_new_tokens': {one.max_new_tokens},",
            "    },",
        ]
    return "\n".join([*lines, "}"])
