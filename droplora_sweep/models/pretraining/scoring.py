"""Zero-shot validation scores for the model card, by the paper's extraction rules."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch

from droplora_sweep.tasks.builtin import BUILTIN_BENCHMARKS, generate
from droplora_sweep.tasks.prompts import render_prompt

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

    from droplora_sweep.tasks.records import Example

_EXTRACTED = {
    "builtin_choice": r"(answer[1-5])",
    "builtin_math": r"The answer is: (-?\d+)",
    "builtin_code": r"(```python\n.*?```)",
}


def zero_shot_scores(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, num_examples: int
) -> dict[str, float]:
    """Share of validation examples that greedy decoding gets right, for each benchmark.

    A function counts only if it equals the gold one in text: generated code is not run here, so
    the score is a lower bound of pass@1.
    """
    return {
        name: sum(
            _extract(name, response) == _extract(name, example.output)
            for example, response in _respond(model, tokenizer, name, num_examples)
        )
        / num_examples
        for name in BUILTIN_BENCHMARKS
    }


def _extract(name: str, response: str) -> str | None:
    found = re.search(_EXTRACTED[name], response, re.DOTALL)
    return found[1] if found else None


def _respond(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, name: str, num_examples: int
) -> list[tuple[Example, str]]:
    benchmark = BUILTIN_BENCHMARKS[name]
    examples = generate(name, "validation", num_examples, seed=0)
    prompts = tokenizer(
        [render_prompt(example, benchmark.prompt_suffix) for example in examples],
        padding=True,
        padding_side="left",
        return_tensors="pt",
    )
    with torch.inference_mode():
        tokens_BT = model.generate(
            input_ids=prompts["input_ids"],
            attention_mask=prompts["attention_mask"],
            max_new_tokens=benchmark.max_new_tokens,
            do_sample=False,
        )
    responses = tokenizer.batch_decode(
        tokens_BT[:, prompts["input_ids"].shape[1] :], skip_special_tokens=True
    )
    return list(zip(examples, responses, strict=True))
