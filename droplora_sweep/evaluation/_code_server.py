"""Runs Python programs, each in a forked child; started by ``code_runner``, never imported.

It reads one JSON object per line, ``{"program": str, "time_limit_s": float}``, and answers each
with one line, ``{"passed": bool}``. It uses the standard library alone, so that it starts in some
20 ms and a program costs about 2 ms.

A program passed if its child wrote a token at its end which only the server and that child know;
leaving early by ``sys.exit(0)`` or ``os._exit(0)``, printing, or a crash is a failure. The child
is cut off from the server's pipes and environment, has limits on time, memory and file size, and
is killed with all its descendants; if the server ends, so does the child. That stops accidents.
It is no sandbox: a malicious program can still read files, use the network and signal other
processes of this user.
"""

from __future__ import annotations

# Imported for the programs: after the fork they are there at once.
import collections  # noqa: F401
import contextlib
import ctypes
import functools  # noqa: F401
import gc
import itertools  # noqa: F401
import json
import math
import os
import random
import re  # noqa: F401
import resource
import secrets
import select
import shutil
import signal
import sys
import tempfile
import time
import types
import typing  # noqa: F401

MEMORY_LIMIT_BYTES = 1 << 30
FILE_LIMIT_BYTES = 16 << 20
PR_SET_PDEATHSIG = 1
"""This process gets the signal when its parent ends."""
PR_SET_CHILD_SUBREAPER = 36
"""Descendants whose parents have ended become this process's children, so that it can end them."""

_LIBC = ctypes.CDLL(None)


def main() -> None:
    """Serves until its input ends."""
    if sys.platform == "linux":
        _set_process_option(PR_SET_CHILD_SUBREAPER, 1)
        _set_process_option(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.environ.clear()
    # What the first compilation sets up, and the memory of this process's objects, would
    # otherwise be made anew in every child; it is most of a short program's time.
    compile("def f(x):\n    return x + 1\nassert f(1) == 2\n", "warm_up.py", "exec")
    gc.freeze()
    for line in sys.stdin:
        request = json.loads(line)
        passed = run(request["program"], request["time_limit_s"])
        print(json.dumps({"passed": passed}), flush=True)  # noqa: T201


def run(program: str, time_limit_s: float) -> bool:
    """Whether the program ran to its end within the limits, in an empty folder."""
    token = secrets.token_bytes(16)
    folder = tempfile.mkdtemp(dir=".")
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        _run_in_child(program, time_limit_s, folder, token, write_end)
    os.close(write_end)
    passed = _read_token(read_end, len(token), time_limit_s) == token
    os.close(read_end)
    _end(child)
    shutil.rmtree(folder, ignore_errors=True)
    return passed


def _run_in_child(
    program: str, time_limit_s: float, folder: str, token: bytes, write_end: int
) -> None:
    """Never returns: whatever happens, this process ends without running the server's code."""
    try:
        os.setsid()
        if sys.platform == "linux":
            _set_process_option(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.chdir(folder)
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        # The inherited objects hold what the server has read ahead: the requests after this one.
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
        _set_limits(time_limit_s)
        random.seed(0)
        module = types.ModuleType("program")
        sys.modules["program"] = module
        exec(compile(program, "program.py", "exec"), module.__dict__)
        os.write(write_end, token)
    finally:
        os._exit(0)


def _set_limits(time_limit_s: float) -> None:
    cpu_limit_s = math.ceil(time_limit_s) + 1
    for kind, limit in (
        (resource.RLIMIT_CPU, cpu_limit_s),
        (resource.RLIMIT_AS, MEMORY_LIMIT_BYTES),
        (resource.RLIMIT_FSIZE, FILE_LIMIT_BYTES),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        allowed = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (allowed, allowed))


def _read_token(read_end: int, num_bytes: int, time_limit_s: float) -> bytes:
    """What the child wrote, up to one token's length, when it ends or the time is over."""
    deadline = time.monotonic() + time_limit_s
    received = b""
    while len(received) < num_bytes:
        remaining_s = deadline - time.monotonic()
        if remaining_s <= 0 or not select.select([read_end], [], [], remaining_s)[0]:
            break
        chunk = os.read(read_end, num_bytes - len(received))
        if not chunk:
            break
        received += chunk
    return received


def _set_process_option(option: int, value: int) -> None:
    """Linux's ``prctl(2)``."""
    _LIBC.prctl(option, value, 0, 0, 0)


def _end(child: int) -> None:
    """Kills the child's process group, and every orphan it has left outside of it."""
    # It may have ended, or not yet lead a group; the kill by id below reaches it in either case.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)
    remaining = {child}
    while remaining:
        for process in remaining:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue
        _reap()
        remaining = _children()


def _reap() -> None:
    """Waits until at least one child has ended, and collects all that have."""
    options = 0
    while True:
        try:
            process, _ = os.waitpid(-1, options)
        except ChildProcessError:
            return
        if process == 0:
            return
        options = os.WNOHANG


def _children() -> set[int]:
    """The process ids of this process's children; empty where the system does not list them."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as listing:  # noqa: PTH123
            return {int(process) for process in listing.read().split()}
    except OSError:
        return set()


if __name__ == "__main__":
    main()
