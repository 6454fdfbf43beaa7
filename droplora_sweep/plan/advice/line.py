"""One line of advice."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Advice:
    """Advice on one field.

    Attributes:
        field: Its dotted path.
        odd: The oddity, with the values.
        remedy: The change that would help.
    """

    field: str
    odd: str
    remedy: str

    @property
    def text(self) -> str:
        """One line."""
        return f"{self.field}: {self.odd}; {self.remedy}"
