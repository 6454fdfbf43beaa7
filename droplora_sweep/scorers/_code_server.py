"""Server that runs Python programs, each in a forked child; started by ``code_runner``.

Its first line of input is ``{"sandboxed": bool, "seccomp": str}``, the filter in base64 and empty
outside a sandbox; it answers ``{"ready": true}``. After that it reads one JSON object per line,
``{"program": str, "limits": {"cpu_s": float, "idle_s": float, "wall_s": float}}``, and answers each
with one line, ``{"passed": bool}``. It uses the standard library alone, so that it starts in some
20 ms and a program costs about 2 ms.

A program may use so much CPU time: how long that takes depends on what else the machine does, and
must not decide an outcome. What waits, and uses none, is ended sooner than what is slow.

The child is cut off from the server's pipes and environment, has limits on time, memory, files
and descriptors, and is killed with all its descendants; if the server ends, so does the child.
Outside a sandbox that stops accidents only. Inside, the server's own surroundings hold no network,
no processes and no files but Python's, the filter leaves a program one process without threads,
and where a program has left files the server ends after its answer (``"spent": true``), and all
that was written with it.

A program passed if it ran to its end. The child first sends a mark of its own making and sends it
again after the program; a program passed if the two are equal. Leaving early by ``sys.exit(0)`` or
``os._exit(0)``, printing, writing to every descriptor, or a crash is a failure. During the program
the mark is in no frame, module or pipe it could read: a C iterator alone holds it, which only the
collector's listing or reads of raw memory would find, and both are refused (``_refuse_to_look``).
The limit of this: program and mark share a process, so code that attacks the interpreter itself,
with crafted bytecode say, can still forge its own pass, just as an answer can define ``__eq__`` to
agree with every test. It cannot leave the sandbox by that, or change another program's outcome.
"""

from __future__ import annotations

import array
import base64

# Imported for the programs: after the fork they are there at once.
import collections
import contextlib
import ctypes
import functools
import gc
import itertools  # noqa: F401
import json
import math
import operator
import os
import random
import re  # noqa: F401
import resource
import secrets
import select
import shutil
import signal
import socket
import struct
import sys
import tempfile
import time
import types
import typing

MEMORY_LIMIT_BYTES = 1 << 30
FILE_LIMIT_BYTES = 16 << 20
DESCRIPTOR_LIMIT = 64
MARK_BYTES = 16
LOOK_EVERY_S = 0.02
CPU_CLOCK = 2
"""The kernel's ``CPUCLOCK_SCHED``: nanoseconds of all threads of a process."""

PR_SET_PDEATHSIG = 1
"""Option: this process gets the signal when its parent ends."""
PR_SET_SECCOMP = 22
PR_SET_CHILD_SUBREAPER = 36
"""Descendants whose parents have ended become this process's children, so that it can end them."""
PR_SET_NO_NEW_PRIVS = 38
SECCOMP_MODE_FILTER = 2

REFUSED_EVENTS = frozenset({"gc.get_objects", "gc.get_referents", "gc.get_referrers"})
REFUSED_MODULES = frozenset(
    {"_ctypes", "_ctypes_test", "_testcapi", "_testinternalcapi", "_testlimitedcapi", "ctypes"}
)
"""Events of reading or writing memory by its address."""

_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


def main() -> None:
    """Serve until the input ends."""
    settings = json.loads(sys.stdin.readline())
    sandboxed = settings["sandboxed"]
    seccomp = base64.b64decode(settings["seccomp"])
    if _prctl is not None:
        _prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.environ.clear()
    _forget_ctypes()
    # What the first compilation sets up, and the memory of this process's objects, would
    # otherwise be made anew in every child; it is most of a short program's time.
    compile("def f(x):\n    return x + 1\nassert f(1) == 2\n", "warm_up.py", "exec")
    gc.collect()
    gc.freeze()
    _answer({"ready": True})
    for line in sys.stdin:
        request = json.loads(line)
        if not sandboxed:
            folder = tempfile.mkdtemp(dir=".")
            passed = run(request["program"], request["limits"], folder, seccomp)
            shutil.rmtree(folder, ignore_errors=True)
            _answer({"passed": passed})
            continue
        passed = run(request["program"], request["limits"], ".", seccomp)
        with contextlib.suppress(ProcessLookupError):
            # All processes of the sandbox but this one and its first.
            os.kill(-1, signal.SIGKILL)
        spent = bool(os.listdir("."))  # noqa: PTH208
        _answer({"passed": passed, "spent": spent})
        if spent:
            return


def _answer(answer: dict[str, bool]) -> None:
    print(json.dumps(answer), flush=True)  # noqa: T201


def _forget_ctypes() -> None:
    """Leave a program no way to the modules, which ``object.__subclasses__`` would else show."""
    del globals()["ctypes"]
    for name in [name for name in sys.modules if name.partition(".")[0] in REFUSED_MODULES]:
        vars(sys.modules.pop(name)).clear()


def run(program: str, limits: dict[str, float], folder: str, seccomp: bytes) -> bool:
    """Return True if the program ran to its end within the limits."""
    own_end, childs_end = socket.socketpair()
    child = os.fork()
    if child == 0:
        own_end.close()
        _run_in_child(program, limits["cpu_s"], folder, seccomp, childs_end)
    childs_end.close()
    marks = _read(own_end, 2 * MARK_BYTES, child, limits)
    own_end.close()
    _end(child)
    return len(marks) == 2 * MARK_BYTES and marks[:MARK_BYTES] == marks[MARK_BYTES:]


def _run_in_child(
    program: str, cpu_limit_s: float, folder: str, seccomp: bytes, channel: socket.socket
) -> None:
    """Never returns: whatever happens, this process ends without running the server's code."""
    leave = os._exit
    try:
        os.setsid()
        os.chdir(folder)
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        # The inherited objects hold what the server has read ahead: the requests after this one.
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
        # What has been sent can be read back by nobody but the server.
        channel.shutdown(socket.SHUT_RD)
        random.seed(0)
        module = types.ModuleType("program")
        sys.modules["program"] = module
        # A program that asks for the main module finds its own.
        sys.modules["__main__"] = module
        _set_limits(cpu_limit_s)
        if _prctl is not None:
            _prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if seccomp:
            _install(seccomp)
        _refuse_to_look()
        steps = _steps(program, module.__dict__, channel.detach())
        globals().clear()
        # Taken out of the list, what is called is in no variable of this frame.
        steps.pop()()
    finally:
        leave(0)


def _steps(
    program: str, namespace: dict[str, typing.Any], descriptor: int
) -> list[typing.Callable[[], typing.Any]]:
    """Send the mark; return a call that runs the program and then, in C, sends it again."""
    mark = secrets.token_bytes(MARK_BYTES)
    os.write(descriptor, mark)
    code = compile(program, "program.py", "exec")
    calls = iter(
        (functools.partial(exec, code, namespace), functools.partial(os.write, descriptor, mark))
    )
    return [functools.partial(collections.deque, map(operator.call, calls), 0)]


def _install(seccomp: bytes) -> None:
    """Bind this process to the filter.

    Raises:
        OSError: The kernel did not take it; the program must not run then.
    """
    assert _prctl is not None
    instructions = array.array("B", seccomp)
    # ``struct sock_fprog``: the number of instructions of 8 bytes, and where they are.
    header = struct.pack("HP", len(seccomp) // 8, instructions.buffer_info()[0])
    if _prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or _prctl(
        PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header, 0, 0
    ):
        raise OSError("prctl must install the seccomp filter")


def _refuse_to_look() -> None:
    """Refuse, for good, all that would find the mark among this process's objects."""
    events, modules, error = REFUSED_EVENTS, REFUSED_MODULES, PermissionError

    def refuse(event: str, arguments: tuple[typing.Any, ...]) -> None:
        if (
            event in events
            or event.startswith("ctypes.")
            # Only a plain string's hash can be trusted.
            or (event == "import" and (type(arguments[0]) is not str or arguments[0] in modules))
        ):
            raise error(f"a program must not use {event}, got {arguments!r:.80}")

    sys.addaudithook(refuse)


def _set_limits(cpu_limit_s: float) -> None:
    for kind, limit in (
        # In whole seconds; the server, which looks at each moment's use, comes first if it can.
        (resource.RLIMIT_CPU, math.ceil(cpu_limit_s) + 1),
        (resource.RLIMIT_AS, MEMORY_LIMIT_BYTES),
        (resource.RLIMIT_FSIZE, FILE_LIMIT_BYTES),
        (resource.RLIMIT_NOFILE, DESCRIPTOR_LIMIT),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        allowed = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (allowed, allowed))


def _read(channel: socket.socket, num_bytes: int, child: int, limits: dict[str, float]) -> bytes:
    """Return up to so many bytes of the child's output when it ends or has met a limit."""
    start_s = active_s = time.monotonic()
    received, used_s = b"", 0.0
    while len(received) < num_bytes:
        if select.select([channel], [], [], LOOK_EVERY_S)[0]:
            chunk = channel.recv(num_bytes - len(received))
            if not chunk:
                break
            received += chunk
            continue
        now_s, now_used_s = time.monotonic(), _cpu_time_s(child)
        if now_used_s is None or now_used_s > used_s:
            active_s, used_s = now_s, now_used_s or 0.0
        if (
            used_s > limits["cpu_s"]
            or now_s - active_s > limits["idle_s"]
            or now_s - start_s > limits["wall_s"]
        ):
            break
    return received


def _cpu_time_s(process: int) -> float | None:
    """CPU time of a process; None where the system does not tell."""
    if sys.platform != "linux":
        return None
    try:
        # The clock's number as ``clock_getcpuclockid`` makes it, without /proc.
        return time.clock_gettime((~process << 3) | CPU_CLOCK)
    except OSError:
        return None


def _end(child: int) -> None:
    """Kill the child's process group, and every orphan that it has left outside of it."""
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
    """Wait until at least one child has ended, and collect all that have."""
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
