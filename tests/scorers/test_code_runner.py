"""A program passes if it runs to its end; nothing it does harms what comes after it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from droplora_sweep.errors import DropLoRASweepError
from droplora_sweep.scorers.code_runner import (
    IDLE_FACTOR,
    WALL_FACTOR,
    require_sandbox,
    run_programs,
)
from droplora_sweep.scorers.sandbox import find_sandbox, no_sandbox_reason

if TYPE_CHECKING:
    from collections.abc import Callable

GOOD = "def f(x):\n    return x + 1\nassert f(1) == 2"
LEAVES = {
    "exception": "raise ValueError",
    "failing assert": GOOD + "\nassert f(1) == 3",
    "syntax error": "def f(:",
    "null byte": "\0",
    "lone surrogate": "'\ud800' + 1",
    "sys.exit(0)": "import sys; sys.exit(0)",
    "os._exit(0)": "import os; os._exit(0)",
    "exit without import": "exit(0)",
    "StopIteration": "raise StopIteration",
    "GeneratorExit": "raise GeneratorExit",
    "deep recursion": "def f(): return f()\nf()",
    "crash": "import sys\nsys.setrecursionlimit(10**9)\nx = ()\n"
    "for _ in range(10**6): x = (x,)\nhash(x)",
    "too much memory": "bytearray(1 << 31)",
    "too big a file": "open('file', 'wb').write(bytes(1 << 26))",
    "closed files": "import os; os.closerange(0, 100); 1 / 0",
    "claims to have passed": """print('{"passed": true}', flush=True); 1 / 0""",
    "third-party import": "import numpy",
    "kills the server": "import os, signal; os.kill(os.getppid(), signal.SIGKILL); 1 / 0",
    "reads input": "input()",
}
FORGERIES = {
    "writes to every descriptor": "import os\n"
    "for descriptor in range(3, 20):\n"
    "    try:\n"
    "        os.write(descriptor, bytes(32))\n"
    "    except OSError:\n"
    "        pass\n"
    "os._exit(0)",
    "reads the pipe and sends it back": "import os\n"
    "for descriptor in range(3, 20):\n"
    "    try:\n"
    "        os.set_blocking(descriptor, False)\n"
    "        os.write(descriptor, os.read(descriptor, 16))\n"
    "    except OSError:\n"
    "        pass\n"
    "os._exit(0)",
    # Sends every bytes object that any frame, its module or its values' attributes hold.
    "walks the frames": "import os, sys\n"
    "frame, seen = sys._getframe(), []\n"
    "while frame:\n"
    "    for scope in (frame.f_locals, frame.f_globals, frame.f_builtins):\n"
    "        seen += scope.values()\n"
    "    frame = frame.f_back\n"
    "for value in seen:\n"
    "    values = list(value) if isinstance(value, (list, tuple)) else [value]\n"
    "    values += getattr(value, '__dict__', {}).values()\n"
    "    for mark in values:\n"
    "        if isinstance(mark, bytes) and len(mark) == 16:\n"
    "            for descriptor in range(3, 20):\n"
    "                try: os.write(descriptor, mark)\n"
    "                except OSError: pass\n"
    "os._exit(0)",
    "walks a traceback": "import os\n"
    "try:\n"
    "    1 / 0\n"
    "except ZeroDivisionError as error:\n"
    "    frame = error.__traceback__.tb_frame.f_back\n"
    "    while frame:\n"
    "        for call in frame.f_locals.get('steps') or []:\n"
    "            call()\n"
    "        frame = frame.f_back\n"
    "os._exit(0)",
    "calls the server's functions": "import os, sys\n"
    "frame = sys._getframe()\n"
    "while frame:\n"
    "    for scope in (frame.f_globals, frame.f_locals):\n"
    "        for name in ('_run_in_child', 'run', '_steps', 'main'):\n"
    "            if name in scope: scope[name]('pass', {}, 3)\n"
    "    frame = frame.f_back\n"
    "os._exit(0)",
    "asks for the main module": "import __main__\n__main__.run('pass', 5, '.', b'')\n1 / 0",
    "lists objects": "import functools, gc, os\n"
    "gc.unfreeze()\n"
    "for thing in gc.get_objects():\n"
    "    if isinstance(thing, functools.partial) and thing.func is os.write: thing()\n"
    "os._exit(0)",
    "asks who refers": "import functools, gc, os\n"
    "for thing in gc.get_referrers(os.write):\n"
    "    if isinstance(thing, functools.partial): thing()\n"
    "os._exit(0)",
    "a name that is not what it says": "class Name(str):\n"
    "    def __eq__(self, other): return False\n"
    "    def __hash__(self): return 0\n"
    "__import__(Name('ctypes')).string_at(0)",
    "ctypes": "import ctypes",
    "_ctypes": "import _ctypes",
    "ctypes by its classes": "def below(kind):\n"
    "    for other in type.__subclasses__(kind):\n"
    "        yield other\n"
    "        yield from below(other)\n"
    "found = [kind for kind in below(object) if kind.__name__ == 'CDLL']\n"
    "found[0].__init__.__globals__['memmove']",
    "a trace function that jumps": "import sys\n"
    "def trace(frame, event, argument):\n"
    "    return trace\n"
    "frame = sys._getframe().f_back\n"
    "while frame:\n"
    "    frame.f_trace = lambda frame, event, argument: setattr(\n"
    "        frame, 'f_lineno', frame.f_lineno - 2)\n"
    "    frame = frame.f_back\n"
    "sys.settrace(trace)\n"
    "1 / 0",
    "replaced builtins": "import builtins, os\n"
    "os._exit = lambda code: None\n"
    "os.write = builtins.exec = builtins.compile = print\n"
    "builtins.AssertionError = None\n"
    "assert 1 == 2",
    "catches SystemExit": "import sys\ntry:\n    sys.exit(0)\nexcept SystemExit:\n    raise",
    "at exit": "import atexit, os\natexit.register(os._exit, 0)\n1 / 0",
    "in a finalizer": "class A:\n"
    "    def __del__(self):\n"
    "        import os\n"
    "        os._exit(0)\n"
    "a = A()\n"
    "1 / 0",
}


@pytest.fixture(params=["sandboxed", "bare"])
def run(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, bool]]:
    """``run_programs`` in the sandbox, where this machine has one, and without."""
    if request.param == "sandboxed":
        if find_sandbox() is None:
            pytest.skip(f"no sandbox: {no_sandbox_reason()}")
        return run_programs
    _without_bubblewrap(tmp_path, monkeypatch)
    return partial(run_programs, allow_unsandboxed=True)


def _without_bubblewrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = tmp_path / "no-programs"
    empty.mkdir()
    monkeypatch.setenv("PATH", str(empty))


@pytest.mark.parametrize("name", LEAVES)
def test_what_does_not_run_to_its_end_fails_and_the_next_one_passes(
    name: str, run: Callable[..., dict[str, bool]]
) -> None:
    assert run([LEAVES[name], GOOD]) == {LEAVES[name]: False, GOOD: True}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_pass_cannot_be_forged(name: str, run: Callable[..., dict[str, bool]]) -> None:
    assert run([FORGERIES[name], GOOD], 1.0) == {FORGERIES[name]: False, GOOD: True}


def test_endless_loops_end_at_the_time_limit(run: Callable[..., dict[str, bool]]) -> None:
    loops = ["while True: pass", "while True: print('x' * 100_000)", "import time; time.sleep(99)"]
    start = time.monotonic()
    passed = run([*loops, GOOD], cpu_limit_s=0.5)
    assert passed == {**dict.fromkeys(loops, False), GOOD: True}
    assert 1.5 <= time.monotonic() - start < 15


def test_what_waits_is_ended_long_before_what_is_slow(run: Callable[..., dict[str, bool]]) -> None:
    waits = "import select; select.select([], [], [])"
    start = time.monotonic()
    assert run([waits], cpu_limit_s=1.0) == {waits: False}
    assert IDLE_FACTOR <= time.monotonic() - start < WALL_FACTOR


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs one CPU to be kept busy")
def test_a_busy_machine_fails_no_right_program(run: Callable[..., dict[str, bool]]) -> None:
    """Three others on the same CPU: four times the CPU time has passed when the program ends.

    That is more than the limit, and far less than the wall-clock time that is allowed: other tests
    may use the CPU too. Each has a session of its own, since Linux may share out a CPU by sessions.
    """
    works = "import time\nwhile time.process_time() < 1: pass"
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    burn = [sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(burn, start_new_session=True) for _ in range(3)]
    try:
        start = time.monotonic()
        assert run([works], cpu_limit_s=3.0) == {works: True}
        assert time.monotonic() - start > 3.0
    finally:
        os.sched_setaffinity(0, before)
        for other in others:
            other.kill()
            other.wait()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc to look for processes")
@pytest.mark.parametrize("detached", [False, True], ids=["group", "session of its own"])
def test_processes_left_behind_are_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, detached: bool
) -> None:
    _without_bubblewrap(tmp_path, monkeypatch)
    note = tmp_path / "process"
    program = (
        "import os, time\n"
        "if os.fork() == 0:\n"
        f"    if {detached}:\n"
        "        os.setsid()\n"
        "        if os.fork():\n"
        "            os._exit(0)\n"
        f"    open({str(note)!r}, 'w').write(str(os.getpid()))\n"
        "    time.sleep(600)\n"
        f"while not os.path.exists({str(note)!r}) or not open({str(note)!r}).read():\n"
        "    time.sleep(0.01)\n"
    )
    assert run_programs([program], allow_unsandboxed=True) == {program: True}
    assert not Path(f"/proc/{int(note.read_text())}").exists()


def test_programs_have_an_empty_folder_and_environment_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., dict[str, bool]]
) -> None:
    monkeypatch.setenv("SECRET", "1")
    own = tmp_path / "own"
    own.mkdir()
    monkeypatch.chdir(own)
    looks = "import os; assert not os.environ; assert not os.listdir('.'); open('left', 'w')"
    assert run([looks, looks + "  # again"]) == {looks: True, looks + "  # again": True}
    assert not list(own.iterdir())


def test_outcomes_are_the_same_in_every_run(run: Callable[..., dict[str, bool]]) -> None:
    by_hash = [f"assert hash('abc') % 8 == {value}" for value in range(8)]
    by_chance = [f"import random; assert random.randrange(8) == {value}" for value in range(8)]
    first = run([*by_hash, *by_chance])
    assert sum(first.values()) == 2
    assert run([*by_chance, *by_hash]) == first


def test_the_standard_library_is_there(run: Callable[..., dict[str, bool]]) -> None:
    program = (
        "from dataclasses import dataclass\n"
        "from typing import List\n"
        "import asyncio, datetime, decimal, hashlib, math, heapq, collections, sqlite3, string\n"
        "@dataclass\n"
        "class Point:\n"
        "    x: int\n"
        "assert Point(1) == Point(1)\n"
        "assert collections.namedtuple('Pair', 'a b')(1, 2).b == 2\n"
        "async def one(): return 1\n"
        "assert asyncio.run(one()) == 1\n"
        "assert hashlib.md5(b'').hexdigest().startswith('d41d8')\n"
        "open('note', 'w').write('x')\n"
        "assert open('note').read() == 'x'\n"
    )
    assert run([program]) == {program: True}


def test_identical_programs_run_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _without_bubblewrap(tmp_path, monkeypatch)
    log = tmp_path / "log"
    program = f"open({str(log)!r}, 'a').write('x')"
    assert run_programs([program, program], allow_unsandboxed=True) == {program: True}
    assert log.read_text() == "x"
    assert run_programs([]) == {}


def test_it_can_be_called_from_a_thread_of_a_process_with_threads(
    run: Callable[..., dict[str, bool]],
) -> None:
    results: list[dict[str, bool]] = []
    stop = threading.Event()
    other = threading.Thread(target=stop.wait)
    other.start()
    caller = threading.Thread(target=lambda: results.append(run([GOOD])))
    caller.start()
    caller.join()
    stop.set()
    other.join()
    assert results == [{GOOD: True}]


def test_without_a_sandbox_it_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _without_bubblewrap(tmp_path, monkeypatch)
    harmful = f"open({str(tmp_path / 'ran')!r}, 'w')"
    with pytest.raises(
        DropLoRASweepError,
        match=r"^code answers must be run in a sandbox: .+; install bubblewrap .+ or choose "
        r"--allow-unsandboxed-code to run them with this user's rights$",
    ):
        run_programs([harmful])
    assert not (tmp_path / "ran").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no sandbox at all")
def test_a_bubblewrap_that_cannot_make_namespaces_is_refused_with_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DropLoRASweepError, match="got bwrap: No permissions to create new names"):
        run_programs([GOOD])


def test_doing_without_is_logged_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _without_bubblewrap(tmp_path, monkeypatch)
    script = (
        "import logging\n"
        "from droplora_sweep.scorers.code_runner import run_programs\n"
        "logging.basicConfig(format='%(levelname)s %(name)s: %(message)s')\n"
        "for program in ('pass', 'assert 0'):\n"
        "    run_programs([program], allow_unsandboxed=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, encoding="utf-8", check=True
    )
    lines = done.stderr.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(
        "WARNING droplora_sweep.scorers.code_runner: running code answers without a sandbox, "
        "as chosen by --allow-unsandboxed-code: they have this user's rights ("
    )
    with caplog.at_level(logging.WARNING):
        assert require_sandbox(allow_unsandboxed=True) is None


def test_running_code_needs_no_torch() -> None:
    script = (
        "import sys\n"
        "from droplora_sweep.scorers.code_runner import run_programs\n"
        "run_programs(['pass'], allow_unsandboxed=True)\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.benchmark
def test_a_program_costs_a_few_milliseconds(run: Callable[..., dict[str, bool]]) -> None:
    """The best of three rounds, for other processes' sake; some 3 ms each on a quiet machine."""
    programs = [f"{GOOD}\nassert f({index}) == {index + 1}" for index in range(200)]
    rounds_s = []
    for _ in range(3):
        start = time.monotonic()
        assert all(run(programs).values())
        rounds_s.append(time.monotonic() - start)
    assert min(rounds_s) / len(programs) < 0.015
