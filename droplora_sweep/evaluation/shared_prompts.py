"""Likelihoods of several continuations of one prompt, from one pass that reads the prompt once.

A row has the prompt, then its continuations side by side. Each stands at the positions that follow
the prompt, and a mask lets it see the prompt and itself alone, so that every token is computed as
if its continuation were the only one.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from .likelihood import MAX_FLOATS, MAX_LOGITS, Targets, continuation_likelihoods, sums

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import nn

    from .encoding import Encoded

_PROMPT, _PADDING = -1, -2
_TOLERANCE: Final = {torch.float32: 1e-3, torch.float64: 1e-3}
"""Share of a log-probability, and nats, by which two ways to compute it may differ by rounding."""
_LOW_PRECISION_TOLERANCE: Final = 0.05


@dataclass(frozen=True, eq=False)
class _Row:
    """A prompt with its continuations.

    Attributes:
        members: Index of each continuation's sequence.
        prompt: Token ids.
        continuations: Token ids of each.
    """

    members: list[int]
    prompt: np.ndarray
    continuations: list[np.ndarray]

    def __len__(self) -> int:
        """Return the number of tokens that are read; the last of a continuation is not."""
        return len(self.prompt) + sum(len(one) - 1 for one in self.continuations)


def shared_prompt_likelihoods(
    model: nn.Module,
    sequences: Sequence[Encoded],
    *,
    pad_id: int,
    batch_size: int,
    max_batch_tokens: int | None,
    num_words: int,
    context: int | None = None,
) -> list[tuple[float, bool]]:
    """Return what ``continuation_likelihoods`` returns, in less time where prompts are shared.

    The longest row is read both ways first. Where the model does not give the same (it keeps a
    state instead of attending, has a window, or reads no such mask), all are read one by one.

    Args:
        model: A causal language model, or a wrapper of one, in eval mode.
        sequences: Prompts with all that follows them counted.
        pad_id: Any token; no continuation sees it.
        batch_size: The most continuations computed together, unless one prompt has more.
        max_batch_tokens: The most tokens computed together, with padding; None is no limit.
        num_words: Size of the vocabulary, by which the logits are limited.
        context: As in ``continuation_likelihoods``.
    """
    one_by_one = partial(
        continuation_likelihoods,
        model,
        pad_id=pad_id,
        batch_size=batch_size,
        max_batch_tokens=max_batch_tokens,
        num_words=num_words,
        context=context,
    )
    rows = [
        row
        for row in _rows(sequences)
        if len(row.members) > 1 and (max_batch_tokens is None or len(row) <= max_batch_tokens)
    ]
    found: dict[int, tuple[float, bool]] = {}
    if rows and _are_alike(model, max(rows, key=len), pad_id, sequences, one_by_one):
        for batch in _batches(rows, batch_size, max_batch_tokens, MAX_LOGITS // num_words):
            found.update(_read(model, batch, pad_id))
    rest = [index for index in range(len(sequences)) if index not in found]
    found.update(zip(rest, one_by_one([sequences[index] for index in rest]), strict=True))
    return [found[index] for index in range(len(sequences))]


def _rows(sequences: Sequence[Encoded]) -> list[_Row]:
    """Return the sequences by their prompt."""
    members: dict[bytes, list[int]] = defaultdict(list)
    for index, sequence in enumerate(sequences):
        members[sequence.tokens[: sequence.num_prompt_tokens].tobytes()].append(index)
    return [
        _Row(
            indices,
            sequences[indices[0]].tokens[: sequences[indices[0]].num_prompt_tokens],
            [sequences[one].tokens[sequences[one].num_prompt_tokens :] for one in indices],
        )
        for indices in members.values()
    ]


def _are_alike(
    model: nn.Module,
    row: _Row,
    pad_id: int,
    sequences: Sequence[Encoded],
    one_by_one: Callable[[list[Encoded]], list[tuple[float, bool]]],
) -> bool:
    """Return True if the model gives a row's continuations what it gives them one by one."""
    try:
        together = _read(model, [row], pad_id)
    except torch.OutOfMemoryError:
        raise
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError):
        # What architectures raise that read no mask of their caller's.
        return False
    alone = one_by_one([sequences[index] for index in row.members])
    tolerance = _TOLERANCE.get(next(model.parameters()).dtype, _LOW_PRECISION_TOLERANCE)
    return np.allclose(
        [together[index][0] for index in row.members],
        [log_probability for log_probability, _ in alone],
        rtol=tolerance,
        atol=tolerance,
    )


def _batches(
    rows: Sequence[_Row], batch_size: int, max_batch_tokens: int | None, max_kept: int
) -> Iterator[list[_Row]]:
    """Yield batches of rows of similar length; a row beyond a limit is alone in its batch."""
    batch: list[_Row] = []
    for row in sorted(rows, key=len):
        some = [*batch, row]
        first = min(len(one.prompt) for one in some) - 1
        if batch and (
            sum(len(one.members) for one in some) > batch_size
            or (max_batch_tokens is not None and len(some) * len(row) > max_batch_tokens)
            or len(some) * (len(row) - first) > max_kept
        ):
            yield batch
            some = [row]
        batch = some
    if batch:
        yield batch


def _read(model: nn.Module, rows: Sequence[_Row], pad_id: int) -> dict[int, tuple[float, bool]]:
    """Return the log-probability of each continuation of the rows, and if it is the greedy one."""
    parameter = next(model.parameters())
    shape = len(rows), max(map(len, rows))
    tokens_BT = np.full(shape, pad_id, np.int64)
    positions_BT = np.zeros(shape, np.int64)
    owner_BT = np.full(shape, _PADDING, np.int64)
    first = min(len(row.prompt) for row in rows) - 1
    targets: list[tuple[int, int, int, int]] = []
    members: list[int] = []
    for index, row in enumerate(rows):
        end = len(row.prompt)
        tokens_BT[index, :end] = row.prompt
        positions_BT[index, :end] = np.arange(end)
        owner_BT[index, :end] = _PROMPT
        for number, continuation in enumerate(row.continuations):
            start, end = end, end + len(continuation) - 1
            tokens_BT[index, start:end] = continuation[:-1]
            positions_BT[index, start:end] = len(row.prompt) + np.arange(end - start)
            owner_BT[index, start:end] = number
            places = [len(row.prompt) - 1, *range(start, end)]
            targets += [
                (index, place - first, int(token), len(members))
                for place, token in zip(places, continuation, strict=True)
            ]
            members.append(row.members[number])
    owners = torch.from_numpy(owner_BT).to(parameter.device)
    is_seen = (owners[:, None] == _PROMPT) | (owners[:, None] == owners[..., None])
    is_hidden = ~(is_seen & torch.ones(shape[1], shape[1], device=owners.device).tril().bool())
    mask_B1TT = torch.zeros(is_hidden.shape, dtype=parameter.dtype, device=parameter.device)
    mask_B1TT = mask_B1TT.masked_fill(is_hidden, torch.finfo(parameter.dtype).min)[:, None]
    logits_BKV = model(
        input_ids=torch.from_numpy(tokens_BT).to(parameter.device),
        attention_mask=mask_B1TT,
        position_ids=torch.from_numpy(positions_BT).to(parameter.device),
        use_cache=False,
        logits_to_keep=torch.arange(first, shape[1], device=parameter.device),
    ).logits
    found = sums(
        logits_BKV,
        Targets(*torch.tensor(targets, device=parameter.device).unbind(1)),
        num_owners=len(members),
        max_floats=MAX_FLOATS,
    )
    return dict(zip(members, found, strict=True))
