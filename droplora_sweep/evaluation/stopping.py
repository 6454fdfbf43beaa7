"""When a response may end before EOS, because what follows cannot change how it is read."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .extraction import (
    CLOSING_FENCE,
    CODE_ENDS,
    CODE_FENCE,
    OPENING_FENCE,
    RELEASED_OPTIONS,
    STRICT_CLOSING_FENCE,
    find_options,
    may_become_choice,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from droplora_sweep.spec.evaluation import ProtocolName
    from droplora_sweep.tasks.task import Benchmark


@dataclass(frozen=True)
class StopRule:
    """When a response is complete.

    Attributes:
        is_complete: Whether the text is read as all its continuations are.
        endings: A text that has just become complete holds one of these near its end, so that the
            others need not be looked at; empty if it need not.
        endings_decide: Whether a text that holds one of the endings is complete.
    """

    is_complete: Callable[[str], bool]
    endings: tuple[str, ...] = ()
    endings_decide: bool = False


def stop_rule(benchmark: Benchmark, protocol: ProtocolName) -> StopRule | None:
    """The benchmark's rule; None where only EOS ends a response.

    A number or a LaTeX answer is the last of its response, so that any token may change it.
    """
    if benchmark.scoring == "choice":
        options = benchmark.options
        if protocol == "strict":
            return StopRule(lambda text: not may_become_choice(text, options))
        if tuple(options) not in RELEASED_OPTIONS:
            return StopRule(lambda text: _option_is_settled(text, options), endings=options)
        return StopRule(
            lambda text: _first_option_is_settled(text, options),
            endings=options,
            endings_decide=not _overlap(options),
        )
    if benchmark.scoring == "code":
        if protocol == "strict":
            return StopRule(_strict_block_is_closed, endings=("```",))
        return StopRule(_block_is_settled, endings=("```", *CODE_ENDS))
    return None


def _overlap(options: Sequence[str]) -> bool:
    """Whether a longer option may still come where one inside of it has been found."""
    return any(one in other for one, other in itertools.permutations(options, 2))


def _first_option_is_settled(text: str, options: Sequence[str]) -> bool:
    starts = [start for option in options if (start := text.find(option)) >= 0]
    if not starts:
        return False
    return not _may_still_come(text, options, min(starts))


def _option_is_settled(text: str, options: Sequence[str]) -> bool:
    """Whether the first option that stands by itself does so whatever follows."""
    found = next(find_options(text, options), None)
    if found is None:
        return False
    start, option = found
    following = text[start + len(option) :]
    # A comma or full stop may turn out to be a part of a number.
    is_ended = len(following) > (following[:1] in (".", ","))
    return is_ended and not _may_still_come(text, options, start)


def _may_still_come(text: str, options: Sequence[str], first: int) -> bool:
    """Whether an option has begun at or before the first one and is not all there yet."""
    return any(
        len(text) - start < len(option) and option.startswith(text[start:])
        for option in options
        for start in range(max(0, len(text) - len(option) + 1), first + 1)
    )


def _block_is_settled(text: str) -> bool:
    _, fence, block = text.replace("\r", "").partition(CODE_FENCE)
    if not fence:
        return False
    block = block.replace(CODE_FENCE, "")
    code, closing, _ = block.partition(CLOSING_FENCE)
    if any(end in code for end in CODE_ENDS):
        return True
    # A fence that may still become one that opens a block would be dropped.
    backticks = range(len(code) + 1, len(code) + len(CLOSING_FENCE))
    return bool(closing) and not any(CODE_FENCE.startswith(block[start:]) for start in backticks)


def _strict_block_is_closed(text: str) -> bool:
    opening = OPENING_FENCE.search(text)
    return opening is not None and STRICT_CLOSING_FENCE.search(text, opening.end()) is not None
