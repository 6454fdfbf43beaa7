"""Writes a pretrained model with the model card that says where it came from."""

from __future__ import annotations

import hashlib
import platform
from typing import TYPE_CHECKING, Final

import tokenizers
import torch
import transformers

from droplora_sweep.tasks.builtin.word_problems import LARGEST

from .corpus import corpus_digest
from .scoring import zero_shot_scores

if TYPE_CHECKING:
    from pathlib import Path

    from .train import PretrainingResult, PretrainingSettings

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
    """Writes weights (fp16), configuration, tokenizer and ``README.md`` into ``directory``."""
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
