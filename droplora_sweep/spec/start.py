"""What a trial starts from where that is not a fresh adapter."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AdapterStart:
    """Another trial's adapter.

    Attributes:
        trial_id: The trial, of the same sweep.
        digest: sha256 of the adapter's manifest; part of the fingerprint of what starts from it.
    """

    trial_id: str
    digest: str
