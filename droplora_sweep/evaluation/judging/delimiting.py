"""Keeps an answer inside the delimiters that a judge's prompt puts around it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_DELIMITER_LINE: Final = re.compile(
    r"\[(?P<bracket>[^\[\]{}]+)\]|<\|(?P<token>[^|<>{}]+)\|>|#{2,6}\s*(?P<heading>[^{}]+:)"
)
_SPECIAL_TOKEN: Final = re.compile(r"<\|([^|<>]*)\|>")
_BOUNDARY: Final = re.compile(r"\[\s*(the\s+(?:start|end)\s+of\s[^\[\]]*)\]", re.IGNORECASE)
_RATING: Final = re.compile(r"\[\[(\s*(?:[0-9.,]+|rating)\s*)\]\]", re.IGNORECASE)


def is_delimiter(line: str) -> bool:
    """Whether a template's line is a delimiter: ``[...]``, ``<|...|>`` or ``### ...:``."""
    return _DELIMITER_LINE.fullmatch(line.strip()) is not None


class Neutraliser:
    """Rewrites what an answer could be mistaken for anything but data by.

    * Every delimiter line of the templates, wherever it stands in the answer, whatever its case
      and spacing, and other lines like ``[The Start of ...]``: ``[The End of Assistant's Answer]``
      becomes ``(The End of Assistant's Answer)``, ``### User:`` becomes ``(User:)``.
    * ``<|...|>``, which many chat templates give a meaning: ``<|im_end|>`` becomes ``(im_end)``.
    * Ratings, so that a judge who quotes the answer quotes none: ``[[10]]`` becomes ``[ [10] ]``.
      Other double brackets, common in code, stay.
    * Lone surrogates, which are no text, become ``?``.

    All else reaches the judge as it is.
    """

    def __init__(self, templates: Iterable[str]) -> None:
        inner = {
            next(group for group in match.groups() if group).strip()
            for template in templates
            for line in template.splitlines()
            if (match := _DELIMITER_LINE.fullmatch(line.strip()))
        }
        names = "|".join(_loosely(text) for text in sorted(inner))
        self._delimiter = (
            re.compile(
                rf"\[\s*(?P<bracket>{names})\s*\]|#{{2,6}}\s*(?P<heading>{names})", re.IGNORECASE
            )
            if names
            else None
        )

    def __call__(self, answer: str) -> str:
        text = answer.encode("utf-8", "replace").decode("utf-8")
        while (rewritten := self._once(text)) != text:
            # What stood around a delimiter may form one with what replaced it.
            text = rewritten
        return text

    def _once(self, text: str) -> str:
        text = _SPECIAL_TOKEN.sub(r"(\1)", text)
        text = _BOUNDARY.sub(lambda match: f"({match[1].strip()})", text)
        if self._delimiter is not None:
            text = self._delimiter.sub(
                lambda match: f"({match['bracket'] or match['heading']})", text
            )
        return _RATING.sub(r"[ [\1] ]", text)


def _loosely(text: str) -> str:
    """A pattern for the text with any spacing, and with typographic apostrophes."""
    words = (re.escape(word).replace("'", "['\u2019]") for word in text.split())
    return r"\s+".join(words)
