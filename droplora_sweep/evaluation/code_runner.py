"""Runs code answers together with their tests, in a process of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from droplora_sweep.errors import DropLoRASweepError

if TYPE_CHECKING:
    from collections.abc import Iterable

TIME_LIMIT_S: Final = 5.0
"""Wall-clock time of one program; a right answer to any task here takes milliseconds."""

_SERVER: Final = Path(__file__).with_name("_code_server.py")


def run_programs(programs: Iterable[str], time_limit_s: float = TIME_LIMIT_S) -> dict[str, bool]:
    """Whether each program runs to its end, each distinct one run once.

    Programs run one after the other, so that they do not take time from each other, in forks of
    one small server process: the calling process, which may hold a model and threads, is never
    forked. A program that takes the server down fails; the rest get a new one.
    ``_code_server`` says what a program can and cannot do; it is not a sandbox.

    Args:
        programs: Complete programs, their tests included.
        time_limit_s: Seconds one program may take.

    Raises:
        DropLoRASweepError: This system cannot fork.
    """
    distinct = list(dict.fromkeys(programs))
    if not distinct:
        return {}
    if not hasattr(os, "fork"):
        raise DropLoRASweepError(
            "code answers are run in forked processes, which this system lacks: "
            f"use Linux or macOS, got {sys.platform}"
        )
    passed: dict[str, bool] = {}
    with tempfile.TemporaryDirectory(prefix="droplora-code-") as folder:
        while len(passed) < len(distinct):
            remaining = distinct[len(passed) :]
            outcomes = _serve(remaining, time_limit_s, folder)
            passed.update(zip(remaining, outcomes, strict=False))
            if len(outcomes) < len(remaining):
                passed[remaining[len(outcomes)]] = False
    return passed


def _serve(programs: list[str], time_limit_s: float, folder: str) -> list[bool]:
    """The programs' outcomes in order, up to the first that took the server down.

    All requests are sent at once: a reply between every two programs would cost two switches
    between processes each, which on a busy machine is several times the program's own time.
    """
    requests = [
        json.dumps({"program": program, "time_limit_s": time_limit_s}) for program in programs
    ]
    # The flags are those of ``-I`` except that the environment is read: with a fixed hash seed
    # the order of a set, and so a program's outcome, is the same in every run.
    server = subprocess.run(
        [sys.executable, "-s", "-S", "-P", "-B", "-X", "utf8", str(_SERVER)],
        input="".join(f"{request}\n" for request in requests),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        env={"PYTHONHASHSEED": "0"},
        start_new_session=True,
        encoding="utf-8",
        check=False,
    )
    return [json.loads(line)["passed"] for line in server.stdout.splitlines()]
