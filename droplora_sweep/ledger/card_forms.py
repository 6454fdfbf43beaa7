"""What a model card says of how its files are loaded, for each form that they may have."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from droplora_sweep.spec import ModelSpec

    from .card_prompts import TaskPrompt

BUILTIN = "builtin"
"""Path of the model that comes with this package, which only an installation of it has."""


class Form(StrEnum):
    """What the files beside a card are."""

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
    """How to load files of this form, and to have them answer, as Markdown.

    Args:
        form: What the files are.
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
