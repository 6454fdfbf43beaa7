"""Instants at which a driver can be made to die, to test that a resumed sweep loses nothing.

``DROPLORA_FAILPOINT=NAME`` (or ``NAME:N`` for the N-th time it is reached) kills the process with
SIGKILL there, between two steps of a commit. Without the variable nothing happens.
"""

from __future__ import annotations

import os
import signal
from collections import Counter

VARIABLE = "DROPLORA_FAILPOINT"

FAILPOINTS = (
    "sweep-folder-made",
    "sweep-started",
    "sweep-resumed",
    "trial-folder-made",
    "trial-started",
    "trial-reported",
    "trial-ended",
    "adapter-half-written",
    "adapter-published",
    "results-written",
    "trial-finished",
    "test-results-written",
    "trial-tested",
    "sweep-finished",
)
"""Each lies right after the step that its name tells of; one is in the middle of a step."""

RARE_FAILPOINTS = (
    "trial-adjusted",
    "trial-stop-asked",
    "trial-pinned",
    "trial-cloned",
    "trial-turned",
    "reference-scored",
)
"""The same, of events that only some sweeps have."""

_times_reached: Counter[str] = Counter()


def failpoint(name: str) -> None:
    """Die here if the environment says so."""
    known = (*FAILPOINTS, *RARE_FAILPOINTS)
    assert name in known, f"must be one of {', '.join(known)}, got {name}"
    wanted, _, count = os.environ.get(VARIABLE, "").partition(":")
    if wanted != name:
        return
    _times_reached[name] += 1
    if _times_reached[name] == int(count or 1):
        os.kill(os.getpid(), signal.SIGKILL)
