"""Decoding behind one interface, and its transformers implementation: batches, draws, ends.

A ``Generator`` continues prompts with the most likely tokens, or with drawn ones. It decides
itself which prompts are computed together, and gives the same responses whatever it decides.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from droplora_sweep.scorers.scorer import StopRule


@contextmanager
def only_read(model: nn.Module) -> Iterator[None]:
    """Eval mode without gradients; afterwards every module is in the mode it came in."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        # Not inference_mode: what a model caches in it could not take part in training later.
        with torch.no_grad():
            yield
    finally:
        for module, training in modes.items():
            module.training = training


def rank_share(lengths: Sequence[int], rank: int, world_size: int) -> list[int]:
    """Return this rank's examples, shortest first.

    Every rank gets as many long ones as the others; together the shares are all examples.

    Args:
        lengths: Tokens of every example's prompt.
        rank: In [0, world_size).
        world_size: Number of ranks that share the examples.
    """
    return by_length(lengths)[rank::world_size]


def by_length(lengths: Sequence[int]) -> list[int]:
    """Return indices by length, shortest first, equal ones in their order."""
    return sorted(range(len(lengths)), key=lambda index: (lengths[index], index))


def batches(
    lengths: Sequence[int],
    *,
    batch_size: int,
    max_batch_tokens: int | None = None,
    num_new_tokens: int,
) -> list[list[int]]:
    """Return batches of indices; prompts of similar length share one, which saves padding.

    Args:
        lengths: Tokens of every prompt.
        batch_size: The most prompts in a batch.
        max_batch_tokens: The most tokens in a batch, prompts padded to the longest one and
            ``num_new_tokens`` for each; a prompt beyond it is alone in its batch. None: no such
            limit.
        num_new_tokens: The most tokens that are added to a prompt.
    """
    result: list[list[int]] = []
    for index in by_length(lengths):
        # In this order the prompt at hand is the longest of its batch.
        num_row_tokens = lengths[index] + num_new_tokens
        num_rows = len(result[-1]) + 1 if result else 1
        fits = max_batch_tokens is None or num_rows * num_row_tokens <= max_batch_tokens
        if not result or num_rows > batch_size or not fits:
            result.append([])
        result[-1].append(index)
    return result


@dataclass(frozen=True)
class Sampling:
    """Settings by which the responses to some prompts are drawn.

    Attributes:
        temperature: Divides the logits; above 0.
        top_p: Probability that the drawn tokens' candidates have together, in (0, 1].
        seeds: Of each prompt, in [0, 2**63).
    """

    temperature: float
    top_p: float
    seeds: tuple[int, ...]

    def of(self, indices: Sequence[int]) -> Sampling:
        """The same for some of the prompts."""
        return Sampling(self.temperature, self.top_p, tuple(self.seeds[index] for index in indices))


def sample_seed(example_id: str, sample: int) -> int:
    """Return the seed of a response, which its example and its number alone decide."""
    digest = hashlib.sha256(f"{example_id}/{sample}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


class DrawnTokens(LogitsProcessor):
    """Processor that leaves greedy search one token, on which the row's random number falls.

    Each row draws one number in [0, 1) per token from its own seed, on the CPU, and takes the
    token at which the cumulative distribution, in the order of the vocabulary, passes it. So a
    row's tokens depend on its seed and its own logits alone; a rounding of these, as batches make
    it, changes a token only where the number falls within that rounding of a border.
    """

    def __init__(self, sampling: Sampling, num_prompt_tokens: int, max_new_tokens: int) -> None:
        self._sampling = sampling
        self._start = num_prompt_tokens
        self._numbers_BT = torch.stack(
            [
                torch.rand(
                    max_new_tokens,
                    generator=torch.Generator().manual_seed(seed),
                    dtype=torch.float64,
                )
                for seed in sampling.seeds
            ]
        )

    def __call__(self, input_ids: torch.Tensor, scores: Any) -> Any:
        """Return scores (batch, vocabulary) that are 0 at the drawn token and -inf elsewhere."""
        probabilities_BV = kept_probabilities(
            scores, self._sampling.temperature, self._sampling.top_p
        )
        cumulative_BV = probabilities_BV.cumsum(-1)
        numbers_B = self._numbers_BT[:, input_ids.shape[1] - self._start].to(scores.device)
        # Scaled by the sum as it was rounded, so that no number lies beyond the last token.
        marks_B1 = (numbers_B * cumulative_BV[:, -1]).unsqueeze(-1)
        drawn_B1 = torch.searchsorted(cumulative_BV, marks_B1, right=True)
        return torch.full_like(scores, -torch.inf).scatter(-1, drawn_B1, 0.0)


def kept_probabilities(scores_BV: torch.Tensor, temperature: float, top_p: float) -> torch.Tensor:
    """Return probabilities in float64 of the fewest tokens that have ``top_p`` together; else 0.

    Not normalised again. The most likely token is always kept.
    """
    probabilities_BV = torch.softmax(scores_BV.double() / temperature, -1)
    if top_p == 1:
        return probabilities_BV
    sorted_BV, order_BV = probabilities_BV.sort(stable=True, dim=-1, descending=True)
    before_BV = sorted_BV.cumsum(-1) - sorted_BV
    dropped_BV = (before_BV >= top_p).scatter(-1, order_BV, before_BV >= top_p)
    return probabilities_BV.masked_fill(dropped_BV, 0.0)


class Generator(Protocol):
    """Interface of what continues prompts."""

    @property
    def note(self) -> str | None:
        """Remark on the latest responses, which goes with their results; None where all is well."""
        ...

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        stop: StopRule | None,
        sampling: Sampling | None = None,
    ) -> list[list[int]]:
        """Return each prompt's response as token ids, in the order of the prompts.

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
    """A ``Generator`` on the model that is being trained.

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

    @property
    def note(self) -> None:
        """See ``Generator``."""
        return

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
        """Append the most likely or the drawn token, again and again, to every prompt of a batch.

        Padding goes to the left and is masked, so that a prompt's continuation does not depend on
        what else is in its batch, up to rounding: where two tokens' logits differ by less than
        that, either may be taken. The batch ends when all its responses have.
        """
        pad_id = min(self.eos_ids)
        tokens_BT, mask_BT = pad_left(prompts, pad_id, next(self.model.parameters()).device)
        width = tokens_BT.shape[1]
        complete = None
        if stop is not None:
            complete = _CompleteRows(CompleteTokens(stop, self.tokenizer), width)
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
    """Return token ids (batch, tokens) that end together, and the mask that is 1 where they are."""
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
    """Return the text of a response, without EOS and other special tokens."""
    text = tokenizer.decode(
        [token for token in tokens if token not in eos_ids],
        skip_special_tokens=True,
        clean_up_tokenization_spaces=False,
    )
    assert isinstance(text, str), "one sequence decodes to one text"
    return text


class CompleteTokens:
    """Predicate of tokens whose response a stop rule calls complete."""

    def __init__(self, stop: StopRule, tokenizer: PreTrainedTokenizerBase) -> None:
        self._stop, self._tokenizer = stop, tokenizer
        # A token is at least a character of an ending, and one behind it may settle the matter.
        self._num_tail_tokens = max(map(len, stop.endings), default=0) + 8

    def __call__(self, tokens: list[int]) -> bool:
        """Return True where the response is complete, be it for long or since its last token."""
        endings = self._stop.endings
        if endings:
            tail = decode_response(self._tokenizer, tokens[-self._num_tail_tokens :])
            if not any(ending in tail for ending in endings):
                return False
        return self._stop.is_complete(decode_response(self._tokenizer, tokens))


class _CompleteRows(StoppingCriteria):
    """Criterion that ends the rows whose response is complete, and keeps their lengths."""

    def __init__(self, is_complete: CompleteTokens, width: int) -> None:
        self._is_complete, self._width = is_complete, width
        self.lengths: dict[int, int] = {}

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        for row, tokens in enumerate(input_ids[:, self._width :].tolist()):
            if row not in self.lengths and self._is_complete(tokens):
                self.lengths[row] = len(tokens)
        done_B = torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
        done_B[list(self.lengths)] = True
        return done_B


def until_eos(tokens: list[int], eos_ids: Collection[int]) -> list[int]:
    """Return the tokens up to the first EOS, which is kept."""
    length = next((index for index, token in enumerate(tokens) if token in eos_ids), None)
    return tokens if length is None else tokens[: length + 1]
