"""The paper's prompt (arXiv 2508.17337, as LLM-Adapters and the released code write it)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .records import Example

TEMPLATE = (
    "Below is an instruction that describes a task. Write a response that appropriately "
    "completes the request.\n\n### Instruction:\n{instruction}\n\n### Response:"
)
TEMPLATE_WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further "
    "context. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:"
)


def render_prompt(example: Example, suffix: str = "\n", template: str | None = None) -> str:
    """The text the model continues; its training label is the example's ``output`` plus EOS.

    Args:
        example: What is asked.
        suffix: Ends the prompt: a newline for choice and code tasks, ``" Let's think step by
            step."`` for math (paper's protocol).
        template: Holds ``{instruction}`` and may hold ``{input}``; the paper's where None.
    """
    if template is None:
        template = TEMPLATE_WITH_INPUT if example.input else TEMPLATE
    values = {"{instruction}": example.instruction, "{input}": example.input}
    # In one pass: an instruction may itself hold "{input}", and a template other braces.
    return re.sub(r"{instruction}|{input}", lambda mark: values[mark[0]], template) + suffix
