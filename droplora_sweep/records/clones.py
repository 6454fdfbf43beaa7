"""Trials that somebody makes of others while a sweep runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from droplora_sweep.spec import AdapterStart, Scalar


@dataclass(frozen=True)
class QueuedClone:
    """A trial that somebody made, until a group takes it up.

    Attributes:
        trial_id: Its name.
        number: Its number in the study.
        fingerprint: Digest of everything that changes its result.
        spec: The ``TrialSpec``, as JSON values.
        params: Its searched fields, and those that were set, by dotted path.
        drawn: As the search would have drawn it; empty where it could not have.
        clone_of: The trial it was made from.
        start: The adapter that its training starts from; None for a fresh one.
        by: Who made it, ``user@host``.
    """

    trial_id: str
    number: int
    fingerprint: str
    spec: Mapping[str, Any]
    params: Mapping[str, Scalar]
    drawn: Mapping[str, Scalar]
    clone_of: str
    start: AdapterStart | None
    by: str
