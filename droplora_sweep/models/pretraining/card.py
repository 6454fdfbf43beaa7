"""Model card of a pretrained model, with zero-shot scores by the paper's extraction rules."""

from __future__ import annotations

import hashlib
import platform
import re
from typing import TYPE_CHECKING, Final

import tokenizers
import torch
import transformers

from droplora_sweep.tasks.builtin.generation import BUILTIN_BENCHMARKS, generate
from droplora_sweep.tasks.builtin.questions import LARGEST
from droplora_sweep.tasks.task import render_prompt

from .corpus import corpus_digest

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

    from droplora_sweep.tasks.task import Example

    from .train import PretrainingResult, PretrainingSettings


_EXTRACTED = {
    "builtin_choice": r"(answer[1-5])",
    "builtin_math": r"The answer is: (-?\d+)",
    "builtin_code": r"(```python\n.*?```)",
    "builtin_noisy": r"^(\w+)$",
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


NUM_DIGESTED_DOCUMENTS: Final = 10_000
NUM_SCORED_EXAMPLES: Final = 256

_CARD: Final = """\
---
license: apache-2.0
library_name: transformers
language: en
---
# The built-in model of droplora-sweep

A Llama of {num_parameters:,} parameters for trying out a sweep on CPUs. It knows a small
made-up world, sums up to {largest_sum} and short Python functions, and nothing beyond the built-in
benchmarks.

| | |
|---|---|
| made by | `{command}` |
| seed | {seed} |
| corpus | generated; sha256 of the first {num_documents:,} documents `{corpus}` |
| training | {steps:,} steps of {step_tokens:,} tokens: {tokens:,} tokens; {threads} threads |
| wall time | {wall_time_s:.0f} s |
| final loss | {loss:.4f} nats per token that counts (moving average) |
| versions | Python {python}, torch {torch}, transformers {transformers}, tokenizers {tokenizers} |
| weights | fp16 |
| sha256 of `model.safetensors` | `{sha256}` |

Zero-shot validation scores ({num_scored} examples, greedy; code by exact text):

| benchmark | score |
|---|---|
{scores}

The same command with the same versions on the same machine gives the same bytes; a test checks
this for a short run. The corpus has the benchmarks' words in bare lists only, some next to words
of like meaning; their wordings, answer formats and examples are not in it.
"""


def write_model(
    result: PretrainingResult, settings: PretrainingSettings, command: str, directory: Path
) -> None:
    """Write weights (fp16), configuration, tokenizer and ``README.md`` into ``directory``."""
    scores = zero_shot_scores(result.model, result.tokenizer, NUM_SCORED_EXAMPLES)
    result.model.half().save_pretrained(directory)
    result.tokenizer.save_pretrained(directory)
    step_tokens = settings.rows * settings.row_tokens
    card = _CARD.format(
        largest_sum=LARGEST,
        num_parameters=result.model.num_parameters(),
        command=command,
        seed=settings.seed,
        num_documents=NUM_DIGESTED_DOCUMENTS,
        corpus=corpus_digest(settings.seed, NUM_DIGESTED_DOCUMENTS),
        steps=settings.steps,
        step_tokens=step_tokens,
        tokens=settings.steps * step_tokens,
        threads=settings.num_threads,
        wall_time_s=result.wall_time_s,
        loss=result.final_loss,
        python=platform.python_version(),
        torch=torch.__version__,
        transformers=transformers.__version__,
        tokenizers=tokenizers.__version__,
        sha256=hashlib.sha256((directory / "model.safetensors").read_bytes()).hexdigest(),
        num_scored=NUM_SCORED_EXAMPLES,
        scores="\n".join(f"| {name} | {score:.1%} |" for name, score in scores.items()),
    )
    (directory / "README.md").write_text(card)
