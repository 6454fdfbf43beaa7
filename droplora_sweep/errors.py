"""The exceptions a user can meet; everything else is a bug and shows its traceback."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self


class DropLoRASweepError(Exception):
    """Base of every error whose text is written for the user, to be shown without traceback.

    A command that one ends shows, as its last line, the command that helps next.
    """

    next_command: str | None = None
    """That command without the program's name; where None, what helps with the one that failed."""

    def leading_to(self, command: str) -> Self:
        """Return the error with the command that helps next, e.g. ``status first``."""
        self.next_command = command
        return self


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with the input.

    Attributes:
        where: ``file:line`` of the value, or ``--set`` for an override; "" if it has no place.
        field: Dotted path of the field, e.g. ``adapter.pruning_rate``.
        problem: Rule and value, e.g. ``must be in [0, 1), got 1.5``.
    """

    where: str
    field: str
    problem: str

    def __str__(self) -> str:
        """``file:line: field: rule, value``, on one line."""
        return ": ".join(part for part in (self.where, self.field, self.problem) if part)


class InputError(DropLoRASweepError):
    """The input breaks one or more rules; carries every fault that was found."""

    def __init__(self, faults: list[Fault]) -> None:
        assert faults, "an InputError needs a fault"
        self.faults = tuple(faults)
        super().__init__("\n".join(map(str, faults)))

    @classmethod
    def of(cls, field: str, problem: str) -> Self:
        """Return the error of one fault, of a field whose line is not known here."""
        return cls([Fault("", field, problem)])


class AgreedError(InputError):
    """A fault that every worker of a group has been told of, so that none waits for another."""


class TrialError(DropLoRASweepError):
    """A trial cannot give a result (NaN loss, a group that keeps dying); the sweep continues."""


class TrialInterruptedError(DropLoRASweepError):
    """A trial is to stop where it is, to be resumed; nothing is wrong with it."""


class TrialStoppedError(DropLoRASweepError):
    """A trial is to end where it is, for good; nothing is wrong with it."""


class SweepError(DropLoRASweepError):
    """The sweep as a whole cannot start or continue."""


class PoolLostError(SweepError):
    """The process in which trials and groups meet has died; the sweep can be resumed."""
