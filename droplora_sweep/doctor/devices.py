"""Trial of a node's device in a process of its own, whose end does not depend on it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any, Final

from .facts import DeviceFacts
from .looking import PACKAGE

if TYPE_CHECKING:
    from collections.abc import Mapping

PROBE_LIMIT_S: Final = 150.0
"""Imports of torch and DeepSpeed take most of it, on a disk that is cold."""
REDUCE_LIMIT_S: Final = 45.0
PARTS: Final = ("torch", "bfloat16", "attention", "deepspeed", "all-reduce")


def try_device(settings: Mapping[str, Any], place: str) -> DeviceFacts:
    """Run the probe on this node and return what came of it.

    Args:
        settings: ``is_gpu``, ``attention``, and for the sum over nodes ``host``, ``port``,
            ``rank`` and ``world_size``.
        place: The node, for people.
    """
    given = json.dumps({**settings, "limit_s": REDUCE_LIMIT_S})
    path = os.pathsep.join([str(PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    with tempfile.TemporaryFile("w+") as complaints:
        process = subprocess.Popen(
            [sys.executable, "-m", "droplora_sweep.doctor.probe", given],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
        )
        reason = None
        try:
            output, _ = process.communicate(timeout=PROBE_LIMIT_S)
        except subprocess.TimeoutExpired:
            reason = f"no answer within {PROBE_LIMIT_S:g} s"
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
        if reason is None and process.returncode:
            complaints.seek(0)
            said = [line for line in complaints.read().splitlines() if line.strip()]
            last = said[-1].strip() if said else "without a word"
            reason = f"the process ended with {process.returncode}: {last}"
    return read_probe(output, place, reason, is_gpu=bool(settings["is_gpu"]))


def free_port() -> int:
    """Return a port of this node that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def read_probe(output: str, place: str, reason: str | None, *, is_gpu: bool) -> DeviceFacts:
    """Return facts from a probe's lines. Pure.

    Args:
        output: What it printed; libraries may have printed too.
        place: The node, for people.
        reason: What it ended with, where that was no good end: the fault of the next part.
        is_gpu: True where a GPU was tried.
    """
    done: dict[str, str] = {}
    problems: dict[str, str] = {}
    for line in output.splitlines():
        if not line.startswith('{"part": '):
            continue
        said = json.loads(line)
        (done if "done" in said else problems)[said["part"]] = said.get("done") or said["problem"]
    if reason is not None:
        left = [part for part in PARTS if part not in done and part not in problems]
        problems.update(dict.fromkeys(left[:1], reason))
    return DeviceFacts(place=place, done=done, problems=problems, is_gpu=is_gpu)
