"""Runs of code answers together with their tests, in a sandbox."""

from __future__ import annotations

import functools
import json
import logging
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from droplora_sweep.errors import DropLoRASweepError

from .sandbox import ENVIRONMENT, PYTHON_FLAGS, SERVER, Sandbox, find_sandbox, no_sandbox_reason

if TYPE_CHECKING:
    from collections.abc import Iterable

CPU_LIMIT_S: Final = 10.0
"""CPU time of one program; MBPP/123's own solution takes 5 s on a processor of 2023, each other
task's less than one."""
IDLE_FACTOR: Final = 2.0
"""Wall-clock time that a program may wait without using the CPU, in CPU limits."""
WALL_FACTOR: Final = 6.0
"""Wall-clock time of one program, in CPU limits: on a machine so busy that it gets a sixth of a CPU
it still has all of its CPU time."""

_START_LIMIT_S: Final = 60.0
_OVERHEAD_LIMIT_S: Final = 2.0
"""Above a program's own limit; only a server that hangs takes that long."""

_logger = logging.getLogger(__name__)


def run_programs(
    programs: Iterable[str],
    cpu_limit_s: float = CPU_LIMIT_S,
    *,
    allow_unsandboxed: bool = False,
) -> dict[str, bool]:
    """Run each distinct program once, and return True for those that run to their end.

    Programs run one after the other, so that they do not take time from each other, in forks of
    one small server process: the calling process, which may hold a model and threads, is never
    forked. A program that takes the server down fails; the rest get a new one. The server is in a
    sandbox, see ``sandbox`` for what that holds and ``_code_server`` for what a program can do.

    Args:
        programs: Complete programs, their tests included.
        cpu_limit_s: Seconds of CPU time that one program may take.
        allow_unsandboxed: Run them bare where there is no sandbox: they can then read and delete
            this user's files, use the network and signal this user's processes.

    Raises:
        DropLoRASweepError: There is no sandbox and ``allow_unsandboxed`` is off; this system
            cannot fork; or the server does not start.
    """
    distinct = list(dict.fromkeys(programs))
    if not distinct:
        return {}
    sandbox = require_sandbox(allow_unsandboxed=allow_unsandboxed)
    passed: dict[str, bool] = {}
    with tempfile.TemporaryDirectory(prefix="droplora-code-") as folder:
        while len(passed) < len(distinct):
            remaining = distinct[len(passed) :]
            served = _serve(remaining, cpu_limit_s, sandbox, folder)
            passed.update(zip(remaining, served.outcomes, strict=False))
            if not served.spent and len(served.outcomes) < len(remaining):
                passed[remaining[len(served.outcomes)]] = False
    return passed


def limits_of(cpu_limit_s: float) -> dict[str, float]:
    """Return the limits of one program, as the code server takes them."""
    return {
        "cpu_s": cpu_limit_s,
        "idle_s": IDLE_FACTOR * cpu_limit_s,
        "wall_s": WALL_FACTOR * cpu_limit_s,
    }


def require_sandbox(*, allow_unsandboxed: bool = False) -> Sandbox | None:
    """Return the sandbox; None, with one warning per process, where doing without is allowed.

    Raises:
        DropLoRASweepError: There is none and ``allow_unsandboxed`` is off, or this system cannot
            run programs at all.
    """
    sandbox = find_sandbox()
    if sandbox is not None:
        return sandbox
    reason = no_sandbox_reason()
    if not allow_unsandboxed:
        raise DropLoRASweepError(
            f"code answers must be run in a sandbox: {reason}; install bubblewrap (`apt-get "
            "install bubblewrap`) where users may make namespaces, or choose "
            "--allow-unsandboxed-code to run them with this user's rights"
        )
    if not hasattr(os, "fork"):
        raise DropLoRASweepError(
            "code answers are run in forked processes, which this system lacks: "
            f"use Linux or macOS, got {sys.platform}"
        )
    _warn_once(reason)
    return None


@functools.cache
def _warn_once(reason: str | None) -> None:
    _logger.warning(
        "running code answers without a sandbox, as chosen by --allow-unsandboxed-code: "
        "they have this user's rights (%s)",
        reason,
    )


@dataclass(frozen=True)
class _Served:
    """The outcomes in order, up to the first program that took the server down.

    Attributes:
        outcomes: True for each program that passed.
        spent: True where the server ended because of the last of them, which has its outcome.
    """

    outcomes: list[bool]
    spent: bool


def _serve(
    programs: list[str], cpu_limit_s: float, sandbox: Sandbox | None, folder: str
) -> _Served:
    """One server's outcomes.

    All requests are sent at once: a reply between every two programs would cost two switches
    between processes each, which on a busy machine is several times the program's own time.
    """
    if sandbox is None:
        command: tuple[str, ...] = (sys.executable, *PYTHON_FLAGS, str(SERVER))
        settings = json.dumps({"sandboxed": False, "seccomp": ""})
    else:
        command, settings = sandbox.command, sandbox.settings
    limits = limits_of(cpu_limit_s)
    requests = [json.dumps({"program": program, "limits": limits}) for program in programs]
    server = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        env=ENVIRONMENT,
        start_new_session=True,
        encoding="utf-8",
    )
    limit_s = _START_LIMIT_S + len(programs) * (limits["wall_s"] + _OVERHEAD_LIMIT_S)
    with server:
        try:
            output, errors = server.communicate(
                "".join(f"{line}\n" for line in (settings, *requests)), timeout=limit_s
            )
        except subprocess.TimeoutExpired:
            server.kill()
            output, errors = server.communicate()
        except BaseException:
            # An interrupt; the programs must not outlive it.
            server.kill()
            raise
    answers = [json.loads(line) for line in output.splitlines()]
    if not answers:
        said = errors.strip().splitlines()
        raise DropLoRASweepError(
            f"the code server must start, got {said[-1] if said else server.returncode}"
        )
    outcomes = answers[1:]
    return _Served(
        [answer["passed"] for answer in outcomes],
        spent=bool(outcomes) and outcomes[-1].get("spent", False),
    )
