"""Decoding behind one interface; its transformers implementation.

A ``Generator`` continues prompts with the most likely tokens, or with drawn ones. It decides
itself which prompts are computed together, and gives the same responses whatever it decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch
from transformers import (
    GenerationConfig,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

from .batching import batches
from .sampling import DrawnTokens

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from .sampling import Sampling
    from .stopping import StopRule


class Generator(Protocol):
    """Continues prompts."""

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        stop: StopRule | None,
        sampling: Sampling | None = None,
    ) -> list[list[int]]:
        """Each prompt's response as token ids, in the order of the prompts.

        Args:
            prompts: Token ids; none is empty.
            max_new_tokens: The longest response.
            stop: Ends a response that it calls complete. An implementation may go on, since the
                rest changes no verdict.
            sampling: Draws tokens, each prompt's from its own seed; None is greedy.

        Returns:
            Responses up to and with the EOS or the token that ended them.
        """
        ...


@dataclass(frozen=True)
class TransformersGenerator:
    """Decodes on the model that is being trained.

    Attributes:
        model: A causal language model, or a wrapper that passes ``generate`` on to it.
        tokenizer: The model's.
        eos_ids: Tokens that end a response; at least one.
        batch_size: The most prompts decoded together.
        max_batch_tokens: The most tokens of a batch (see ``batches``).
        cache: ``dynamic`` grows with the responses; ``static`` has its full size from the start
            and lets ``generate`` compile the decoding step on a GPU, for the price of compiling.
    """

    model: nn.Module
    tokenizer: PreTrainedTokenizerBase
    eos_ids: frozenset[int]
    batch_size: int
    max_batch_tokens: int | None = None
    cache: Literal["dynamic", "static"] = "dynamic"

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        stop: StopRule | None = None,
        sampling: Sampling | None = None,
    ) -> list[list[int]]:
        """See ``Generator``."""
        responses: dict[int, list[int]] = {}
        for batch in batches(
            [len(prompt) for prompt in prompts],
            batch_size=self.batch_size,
            max_batch_tokens=self.max_batch_tokens,
            num_new_tokens=max_new_tokens,
        ):
            some = [prompts[index] for index in batch]
            of_batch = None if sampling is None else sampling.of(batch)
            decoded = self._decode_batch(some, max_new_tokens, stop, of_batch)
            responses.update(zip(batch, decoded, strict=True))
        return [responses[index] for index in range(len(prompts))]

    def _decode_batch(
        self,
        prompts: Sequence[Sequence[int]],
        max_new_tokens: int,
        stop: StopRule | None,
        sampling: Sampling | None,
    ) -> list[list[int]]:
        """The most likely or the drawn token, again and again, for every prompt of one batch.

        Padding goes to the left and is masked, so that a prompt's continuation does not depend on
        what else is in its batch, up to rounding: where two tokens' logits differ by less than
        that, either may be taken. The batch ends when all its responses have.
        """
        pad_id = min(self.eos_ids)
        tokens_BT, mask_BT = pad_left(prompts, pad_id, next(self.model.parameters()).device)
        width = tokens_BT.shape[1]
        complete = None if stop is None else _CompleteRows(stop, self.tokenizer, width)
        generated_BT = self.model.generate(  # type: ignore[operator]
            input_ids=tokens_BT,
            attention_mask=mask_BT,
            generation_config=self._config(pad_id, max_new_tokens),
            stopping_criteria=StoppingCriteriaList([] if complete is None else [complete]),
            logits_processor=LogitsProcessorList(
                [] if sampling is None else [DrawnTokens(sampling, width, max_new_tokens)]
            ),
        )[:, width:]
        lengths = {} if complete is None else complete.lengths
        # Rows that end early are padded behind their end.
        return [
            until_eos(tokens[: lengths.get(row)], self.eos_ids)
            for row, tokens in enumerate(generated_BT.tolist())
        ]

    def _config(self, pad_id: int, max_new_tokens: int) -> GenerationConfig:
        """Plain greedy search; what is unset here, ``generate`` takes from the model's files."""
        options: dict[str, Any] = (
            {} if self.cache == "dynamic" else {"cache_implementation": "static"}
        )
        return GenerationConfig(
            max_new_tokens=max_new_tokens,
            eos_token_id=sorted(self.eos_ids),
            pad_token_id=pad_id,
            do_sample=False,
            num_beams=1,
            temperature=1.0,
            top_k=50,
            top_p=1.0,
            repetition_penalty=1.0,
            no_repeat_ngram_size=0,
            use_cache=True,
            **options,
        )


def pad_left(
    rows: Sequence[Sequence[int]], pad_id: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids (batch, tokens) that end together, and the mask that is 1 where they are."""
    width = max(map(len, rows))
    tokens_BT = torch.full((len(rows), width), pad_id)
    mask_BT = torch.zeros((len(rows), width), dtype=torch.long)
    for row, tokens in enumerate(rows):
        tokens_BT[row, width - len(tokens) :] = torch.tensor(tokens)
        mask_BT[row, width - len(tokens) :] = 1
    return tokens_BT.to(device), mask_BT.to(device)


def decode_response(
    tokenizer: PreTrainedTokenizerBase, tokens: Sequence[int], eos_ids: Collection[int] = ()
) -> str:
    """The text of a response, without EOS and other special tokens."""
    text = tokenizer.decode(
        [token for token in tokens if token not in eos_ids],
        skip_special_tokens=True,
        clean_up_tokenization_spaces=False,
    )
    assert isinstance(text, str), "one sequence decodes to one text"
    return text


class _CompleteRows(StoppingCriteria):
    """Ends the rows whose response is complete, and keeps how long each was then."""

    def __init__(self, stop: StopRule, tokenizer: PreTrainedTokenizerBase, width: int) -> None:
        self._stop, self._tokenizer, self._width = stop, tokenizer, width
        # A token is at least a character of an ending, and one behind it may settle the matter.
        self._num_tail_tokens = max(map(len, stop.endings), default=0) + 8
        self.lengths: dict[int, int] = {}

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        for row, tokens in enumerate(input_ids[:, self._width :].tolist()):
            if row not in self.lengths and self._is_complete(tokens):
                self.lengths[row] = len(tokens)
        done_B = torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
        done_B[list(self.lengths)] = True
        return done_B

    def _is_complete(self, tokens: list[int]) -> bool:
        endings = self._stop.endings
        if endings:
            tail = decode_response(self._tokenizer, tokens[-self._num_tail_tokens :])
            if not any(ending in tail for ending in endings):
                return False
        return self._stop.is_complete(decode_response(self._tokenizer, tokens))


def until_eos(tokens: list[int], eos_ids: Collection[int]) -> list[int]:
    """The tokens up to the first EOS, which is kept."""
    length = next((index for index, token in enumerate(tokens) if token in eos_ids), None)
    return tokens if length is None else tokens[: length + 1]
