"""The paper's prompt (arXiv 2508.17337, as LLM-Adapters and the released code write it)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

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


CODE_TEMPLATE = TEMPLATE.replace("\n\n### Instruction:", "\n\n\n### Instruction:")
"""The prompt of code as the released code has it: with another blank line."""

TURN_SEPARATOR = "\n\n"
"""Between an answer and the next turn's prompt, as FastChat has it for this template."""


def render_turn(prompts: Sequence[str], answers: Sequence[str]) -> str:
    """The text the model continues in a turn of a conversation: all that was said so far.

    Every turn is rendered like a question of its own, and followed by its answer::

        prompt 1, answer 1, blank line, prompt 2, answer 2, blank line, prompt 3

    so that each turn looks like what the model was trained on, whatever the template.

    Args:
        prompts: Of each turn up to this one (see ``render_prompt``).
        answers: To each turn before this one.
    """
    said = [
        f"{prompt}{answer}{TURN_SEPARATOR}"
        for prompt, answer in zip(prompts[:-1], answers, strict=True)
    ]
    return "".join(said) + prompts[-1]


def render_prompt(example: Example, suffix: str = "\n", template: str | None = None) -> str:
    """The text the model continues; its training label is the example's ``output`` plus EOS.

    Args:
        example: What is asked.
        suffix: Ends the prompt: a newline for choice tasks, ``" Let's think step by step."`` for
            math, nothing for code and conversations (the released code's).
        template: Holds ``{instruction}`` and may hold ``{input}``; the paper's where None.
    """
    if template is None:
        template = TEMPLATE_WITH_INPUT if example.input else TEMPLATE
    values = {"{instruction}": example.instruction, "{input}": example.input}
    # In one pass: an instruction may itself hold "{input}", and a template other braces.
    return re.sub(r"{instruction}|{input}", lambda mark: values[mark[0]], template) + suffix
