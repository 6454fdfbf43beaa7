"""Drawing tokens, so that what is drawn for one prompt does not depend on any other."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from transformers import LogitsProcessor

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Sampling:
    """How the responses to some prompts are drawn.

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
    """Seeds one response: by its example and its number alone."""
    digest = hashlib.sha256(f"{example_id}/{sample}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


class DrawnTokens(LogitsProcessor):
    """Leaves greedy search one token: that which the row's random number falls on.

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
        """Scores (batch, vocabulary) that are 0 at the drawn token and -inf elsewhere."""
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
    """Probabilities in float64 of the fewest tokens that have ``top_p`` together; else 0.

    Not normalised again. The most likely token is always kept.
    """
    probabilities_BV = torch.softmax(scores_BV.double() / temperature, -1)
    if top_p == 1:
        return probabilities_BV
    sorted_BV, order_BV = probabilities_BV.sort(stable=True, dim=-1, descending=True)
    before_BV = sorted_BV.cumsum(-1) - sorted_BV
    dropped_BV = (before_BV >= top_p).scatter(-1, order_BV, before_BV >= top_p)
    return probabilities_BV.masked_fill(dropped_BV, 0.0)
