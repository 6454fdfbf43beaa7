"""A program passes if it runs to its end; nothing it does harms what comes after it."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from droplora_sweep.evaluation import run_programs

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
    "deep recursion": "def f(): return f()\nf()",
    "crash": "import ctypes; ctypes.string_at(0)",
    "too much memory": "bytearray(1 << 31)",
    "too big a file": "open('file', 'wb').write(bytes(1 << 26))",
    "closed files": "import os; os.closerange(0, 100); 1 / 0",
    "claims to have passed": """print('{"passed": true}', flush=True); 1 / 0""",
    "guesses at the pipe": "import os\n"
    "for descriptor in range(3, 20):\n"
    "    try:\n"
    "        os.write(descriptor, bytes(16))\n"
    "    except OSError:\n"
    "        pass\n"
    "os._exit(0)",
    "third-party import": "import numpy",
    "kills the server": "import os, signal; os.kill(os.getppid(), signal.SIGKILL)",
    "reads input": "input()",
}


@pytest.mark.parametrize("name", LEAVES)
def test_what_does_not_run_to_its_end_fails_and_the_next_one_passes(name: str) -> None:
    assert run_programs([LEAVES[name], GOOD]) == {LEAVES[name]: False, GOOD: True}


def test_endless_loops_end_at_the_time_limit() -> None:
    loops = ["while True: pass", "while True: print('x' * 100_000)", "import time; time.sleep(99)"]
    start = time.monotonic()
    passed = run_programs([*loops, GOOD], time_limit_s=0.5)
    assert passed == {**dict.fromkeys(loops, False), GOOD: True}
    assert 1.5 <= time.monotonic() - start < 10


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc to look for processes")
@pytest.mark.parametrize("detached", [False, True], ids=["group", "session of its own"])
def test_processes_left_behind_are_killed(tmp_path: Path, detached: bool) -> None:
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
    assert run_programs([program]) == {program: True}
    assert not Path(f"/proc/{int(note.read_text())}").exists()


def test_programs_have_an_empty_folder_and_environment_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "1")
    monkeypatch.chdir(tmp_path)
    looks = "import os; assert not os.environ; assert not os.listdir('.'); open('left', 'w')"
    assert run_programs([looks, looks + "  # again"]) == {looks: True, looks + "  # again": True}
    assert not list(tmp_path.iterdir())


def test_outcomes_are_the_same_in_every_run() -> None:
    by_hash = [f"assert hash('abc') % 8 == {value}" for value in range(8)]
    by_chance = [f"import random; assert random.randrange(8) == {value}" for value in range(8)]
    first = run_programs([*by_hash, *by_chance])
    assert sum(first.values()) == 2
    assert run_programs([*by_chance, *by_hash]) == first


def test_the_standard_library_is_there() -> None:
    program = (
        "from dataclasses import dataclass\n"
        "from typing import List\n"
        "import math, heapq, collections\n"
        "@dataclass\n"
        "class Point:\n"
        "    x: int\n"
        "assert Point(1) == Point(1)\n"
    )
    assert run_programs([program]) == {program: True}


def test_identical_programs_run_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    program = f"open({str(log)!r}, 'a').write('x')"
    assert run_programs([program, program]) == {program: True}
    assert log.read_text() == "x"
    assert run_programs([]) == {}


def test_it_can_be_called_from_a_thread_of_a_process_with_threads() -> None:
    results: list[dict[str, bool]] = []
    stop = threading.Event()
    other = threading.Thread(target=stop.wait)
    other.start()
    caller = threading.Thread(target=lambda: results.append(run_programs([GOOD])))
    caller.start()
    caller.join()
    stop.set()
    other.join()
    assert results == [{GOOD: True}]


@pytest.mark.benchmark
def test_a_program_costs_a_few_milliseconds_of_cpu() -> None:
    programs = [f"{GOOD}\nassert f({index}) == {index + 1}" for index in range(200)]
    before = os.times()
    assert all(run_programs(programs).values())
    after = os.times()
    cpu_s = after.children_user + after.children_system
    cpu_s -= before.children_user + before.children_system
    assert cpu_s / len(programs) < 0.01
