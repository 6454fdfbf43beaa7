"""The paper's prompt (arXiv 2508.17337, as LLM-Adapters and the released code write it)."""

from __future__ import annotations

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


def render_prompt(example: Example, suffix: str = "\n") -> str:
    """The text the model continues; its training label is the example's ``output`` plus EOS.

    Args:
        example: What is asked.
        suffix: Ends the prompt: a newline for choice and code tasks, ``" Let's think step by
            step."`` for math (paper's protocol).
    """
    template = TEMPLATE_WITH_INPUT if example.input else TEMPLATE
    return template.format(instruction=example.instruction, input=example.input) + suffix
