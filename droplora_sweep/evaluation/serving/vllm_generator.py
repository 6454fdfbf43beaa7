"""Decoding with vLLM beside the model that is trained, which decodes where vLLM cannot."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from droplora_sweep.evaluation.generation import CompleteTokens, until_eos

from .process import ServerError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import nn

    from droplora_sweep.evaluation.generation import Sampling, TransformersGenerator
    from droplora_sweep.scorers.scorer import StopRule

    from .client import VllmServer

logger = logging.getLogger(__name__)

NUM_COMPARED = 4
"""Responses of an evaluation that are compared with transformers, one forward pass each."""
MIN_AGREEMENT = 0.9
"""Share of likeliest tokens below which vLLM does not decode with the adapter that it was given; it
is 1, but for a token or two that rounding decides."""
TIE_NATS = 0.1
"""Tokens this close to the likeliest count as it: a precision of 16 bits decides between them."""


@dataclass(kw_only=True)
class VllmGenerator:
    """A ``Generator`` on a vLLM server, which batches by itself.

    Attributes:
        server_for: Function from the tokens of the longest prompt with its response to a server
            that takes them; may raise `ServerError`.
        fallback: Decodes once the server has failed, and says how likely its tokens are.
        adapter: Folder of a plain LoRA adapter; None decodes with the base model.
        failure: Reason why the server decodes no more; None while it does.
        num_by_vllm: Responses that vLLM has decoded.
        num_by_fallback: Responses that it has not.
        num_compared: Tokens of vLLM's greedy responses that transformers was asked about.
        num_likeliest: Number of these that are likeliest to transformers too.
    """

    server_for: Callable[[int], VllmServer]
    fallback: TransformersGenerator
    adapter: Path | None = None
    failure: str | None = None
    num_by_vllm: int = field(default=0, init=False)
    num_by_fallback: int = field(default=0, init=False)
    num_compared: int = field(default=0, init=False)
    num_likeliest: int = field(default=0, init=False)

    @property
    def note(self) -> str | None:
        """See ``Generator``."""
        return self.failure and f"decoded by transformers: {self.failure}"

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        stop: StopRule | None = None,
        sampling: Sampling | None = None,
    ) -> list[list[int]]:
        """See ``Generator``."""
        if self.failure is None:
            try:
                responses = self._by_vllm(prompts, max_new_tokens, stop, sampling)
            except ServerError as error:
                self.failure = str(error)
                logger.warning("transformers decodes in vLLM's place from here on: %s", error)
            else:
                self.num_by_vllm += len(prompts)
                return responses
        self.num_by_fallback += len(prompts)
        return self.fallback.generate(
            prompts, max_new_tokens=max_new_tokens, stop=stop, sampling=sampling
        )

    def _by_vllm(
        self,
        prompts: Sequence[Sequence[int]],
        max_new_tokens: int,
        stop: StopRule | None,
        sampling: Sampling | None,
    ) -> list[list[int]]:
        eos_ids = self.fallback.eos_ids
        server = self.server_for(max(map(len, prompts)) + max_new_tokens)
        responses = server.generate(
            prompts,
            max_new_tokens=max_new_tokens,
            stop_ids=sorted(eos_ids),
            adapter=self.adapter,
            sampling=sampling,
            is_complete=None if stop is None else CompleteTokens(stop, self.fallback.tokenizer),
        )
        responses = [until_eos(tokens, eos_ids) for tokens in responses]
        if sampling is None and not self.num_compared:
            self._compare(prompts, responses, server)
        return responses

    def _compare(
        self,
        prompts: Sequence[Sequence[int]],
        responses: Sequence[Sequence[int]],
        server: VllmServer,
    ) -> None:
        """Ask transformers about a few responses.

        Raises:
            ServerError: They are not what the model would say.
        """
        for prompt, response in list(zip(prompts, responses, strict=True))[:NUM_COMPARED]:
            self.num_compared += len(response)
            self.num_likeliest += num_likeliest(self.fallback.model, prompt, response)
        if self.num_likeliest < MIN_AGREEMENT * self.num_compared:
            server.close()
            raise ServerError(
                f"vLLM's responses are not the model's: of {self.num_compared} tokens that it took "
                f"for the likeliest, {self.num_likeliest} are so to transformers"
            )


def num_likeliest(model: nn.Module, prompt: Sequence[int], response: Sequence[int]) -> int:
    """Return how many tokens of a response are the likeliest ones, or as good as.

    Args:
        model: A causal language model, in evaluation mode.
        prompt: Token ids.
        response: Those behind it; each is judged behind all that come before it.
    """
    num_tokens = model.get_input_embeddings().num_embeddings  # type: ignore[operator]
    if not response or max(response) >= num_tokens:
        return 0
    device = next(model.parameters()).device
    tokens_1T = torch.tensor([[*prompt, *response]], device=device)
    with torch.no_grad():
        logits_TV = model(tokens_1T).logits[0, len(prompt) - 1 : -1].float()
    chosen_T = logits_TV.gather(-1, tokens_1T[0, len(prompt) :, None]).squeeze(-1)
    return int((chosen_T >= logits_TV.amax(-1) - TIE_NATS).sum())
