"""Reads the rating from the end of a judge's reply."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

MIN_RATING: Final = 1.0
MAX_RATING: Final = 10.0

_MARKER: Final = re.compile(r"\[\[([^\[\]\n]*)\]\]")
_NUMBER: Final = re.compile(r"\s*([0-9]{1,3}(?:\.[0-9]{1,6})?)\s*")
_LABEL_BEFORE: Final = re.compile(r"(?:rating|score)[\W_]*\Z", re.IGNORECASE)
_LABELS_ONLY: Final = re.compile(r"(?:[\W_]|rating|score|final|overall)*", re.IGNORECASE)
_CLOSING: Final = re.compile(r"""[\s.*_"'`]*""")
_QUOTES: Final = frozenset("\"'`\u201c\u201d\u2018\u2019")
_LABEL_REACH: Final = 24
"""Characters before a marker that are searched for its label."""


@dataclass(frozen=True)
class Reading:
    """A rating in [1, 10], or the reason why there is none; exactly one of them is None."""

    rating: float | None
    reason: str | None


def read_rating(reply: str) -> Reading:
    """The rating that the reply ends with, e.g. ``Rating: [[5]]``, as the prompts ask for it.

    Markers before the last one are the judge's explanation, which may quote an answer, and are
    passed over. The rating is missing if

    * no marker is there, or words follow the last one (the published prompts have the rating
      come after the explanation);
    * it holds no number, or one out of [1, 10];
    * the reply ends with several unquoted markers that differ, or its last one lacks the label
      ``Rating`` and an earlier one has it and differs: then the last may be a quotation.

    FastChat's own script reads the first ``[[number]]`` of the reply instead, and ``[number]``
    where there is none; both may be quotations.
    """
    markers = list(_MARKER.finditer(reply))
    if not markers:
        return Reading(None, "no [[rating]] in the judge's reply")
    last = markers[-1]
    if _CLOSING.fullmatch(reply, last.end()) is None:
        return Reading(None, "the judge's reply does not end with its [[rating]]")
    number = _NUMBER.fullmatch(last[1])
    if number is None:
        return Reading(None, f"the rating must be a number, got {last[0][:24]!r}")
    rating = float(number[1])
    if not MIN_RATING <= rating <= MAX_RATING:
        return Reading(None, f"the rating must be in [1, 10], got {number[1]}")
    differing = [marker[0] for marker in _rivals(reply, markers) if not _is(marker, rating)]
    if differing:
        return Reading(
            None, f"the judge's reply gives several ratings, {differing[0][:24]} and {last[0]}"
        )
    return Reading(rating, None)


def _rivals(reply: str, markers: list[re.Match[str]]) -> list[re.Match[str]]:
    """The markers besides the last that claim to be the rating too."""
    *earlier, last = markers
    rivals = []
    following = last
    for marker in reversed(earlier):
        adjoins = _LABELS_ONLY.fullmatch(reply, marker.end(), following.start()) is not None
        if not adjoins or _is_quoted(reply, marker):
            break
        rivals.append(marker)
        following = marker
    if not _is_labelled(reply, last):
        rivals += [marker for marker in earlier if _is_labelled(reply, marker)]
    return rivals


def _is_labelled(reply: str, marker: re.Match[str]) -> bool:
    before = reply[max(0, marker.start() - _LABEL_REACH) : marker.start()]
    return _LABEL_BEFORE.search(before) is not None


def _is_quoted(reply: str, marker: re.Match[str]) -> bool:
    start, end = marker.span()
    return start > 0 and end < len(reply) and {reply[start - 1], reply[end]} <= _QUOTES


def _is(marker: re.Match[str], rating: float) -> bool:
    number = _NUMBER.fullmatch(marker[1])
    return number is not None and float(number[1]) == rating
