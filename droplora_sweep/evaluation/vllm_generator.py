"""Decoding with vLLM: each adapter is a LoRA request to one engine, and nothing is merged.

``VllmEngine`` alone touches vLLM. It is written to vLLM's documented interface (``LLM``,
``SamplingParams``, ``LoRARequest``, prompts as token ids) and **has not been run**: vLLM needs a
GPU, and the machines this was built on have none. ``VllmGenerator`` and the choice of the backend
(``backend.py``) are tested without it.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from .generation import decode_response, until_eos

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from transformers import PreTrainedTokenizerBase

    from droplora_sweep.scorers.scorer import StopRule

    from .generation import Sampling

LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Values that vLLM takes for ``max_lora_rank``."""


def engine_rank(rank: int) -> int:
    """Return the smallest ``max_lora_rank`` of an engine that takes adapters of this rank."""
    return LORA_RANKS[bisect_left(LORA_RANKS, rank)]


class Engine(Protocol):
    """Interface of vLLM: continues prompts greedily, with an adapter or without."""

    def complete(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        stop_ids: Sequence[int],
        adapter: Path | None,
    ) -> list[list[int]]:
        """Return the token ids behind each prompt, in the order of the prompts.

        Args:
            prompts: Token ids.
            max_new_tokens: The most tokens behind a prompt.
            stop_ids: Tokens that end a response; whether they are returned is left open.
            adapter: Folder of a plain LoRA adapter; None decodes with the base model.
        """
        ...


@dataclass(frozen=True)
class VllmGenerator:
    """A ``Generator`` on an engine that batches by itself.

    Attributes:
        engine: Decodes.
        tokenizer: The model's.
        eos_ids: Tokens that end a response.
        adapter: Folder of a plain LoRA adapter; None decodes with the base model.
    """

    engine: Engine
    tokenizer: PreTrainedTokenizerBase
    eos_ids: frozenset[int]
    adapter: Path | None = None

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        stop: StopRule | None = None,
        sampling: Sampling | None = None,
    ) -> list[list[int]]:
        """See ``Generator``; a stop rule shortens what the engine has decoded to its end."""
        assert sampling is None, "samples are drawn by transformers (see backend.py)"
        completions = self.engine.complete(
            prompts,
            max_new_tokens=max_new_tokens,
            stop_ids=sorted(self.eos_ids),
            adapter=self.adapter,
        )
        return [
            self._until_complete(until_eos(tokens, self.eos_ids), stop) for tokens in completions
        ]

    def _until_complete(self, tokens: list[int], stop: StopRule | None) -> list[int]:
        if stop is None:
            return tokens

        def is_complete(length: int) -> bool:
            return stop.is_complete(decode_response(self.tokenizer, tokens[:length], self.eos_ids))

        # A complete response stays complete: what follows does not change how it is read.
        return tokens[: bisect_left(range(len(tokens)), True, key=is_complete)]


class VllmEngine:
    """vLLM on this worker's GPU; has not been run (see the module's text).

    The engine holds base weights of its own, in a process of its own, beside those that are
    trained: ``memory_share`` of the GPU must be free when it starts.

    Args:
        path: The base model's folder.
        dtype: Its precision.
        max_rank: The highest rank an adapter may have; one of ``LORA_RANKS``.
        max_tokens: The longest prompt with its response.
        memory_share: Of the GPU's memory, for weights and KV cache.
    """

    def __init__(
        self, path: Path, dtype: str, *, max_rank: int, max_tokens: int, memory_share: float
    ) -> None:
        from vllm import LLM

        self.max_rank, self.max_tokens = max_rank, max_tokens
        self._numbers = itertools.count(1)
        self._llm = LLM(
            model=str(path),
            dtype=dtype,
            enable_lora=True,
            max_loras=1,
            max_lora_rank=max_rank,
            max_model_len=max_tokens,
            gpu_memory_utilization=memory_share,
            skip_tokenizer_init=True,
        )

    def complete(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        stop_ids: Sequence[int],
        adapter: Path | None,
    ) -> list[list[int]]:
        """See ``Engine``."""
        from vllm import SamplingParams
        from vllm.lora.request import LoRARequest

        request: Any = None
        if adapter is not None:
            # A number of its own: vLLM would take files of a number it knows from its cache.
            number = next(self._numbers)
            request = LoRARequest(f"adapter-{number}", number, str(adapter))
        outputs = self._llm.generate(
            [{"prompt_token_ids": list(prompt)} for prompt in prompts],
            SamplingParams(
                temperature=0.0,
                max_tokens=max_new_tokens,
                stop_token_ids=list(stop_ids),
                detokenize=False,
            ),
            lora_request=request,
            use_tqdm=False,
        )
        return [list(output.outputs[0].token_ids) for output in outputs]
