"""Hostile programs fail, and the host does not notice; skipped where there is no sandbox."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from droplora_sweep.scorers._seccomp import ALLOWED, MACHINES, build_filter
from droplora_sweep.scorers.code_runner import limits_of, run_programs
from droplora_sweep.scorers.sandbox import (
    Runtime,
    find_runtime,
    find_sandbox,
    no_sandbox_reason,
    sandbox_command,
)

GOOD = "assert 1 + 1 == 2"

HOSTILE = {
    "fork bomb": "import os\nwhile True:\n    os.fork()",
    "stubborn fork bomb": "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass\n",
    "thread bomb": "import threading, time\n"
    "while True: threading.Thread(target=time.sleep, args=(60,)).start()\n",
    "endless loop": "while True: pass",
    "endless loop that ignores signals": "import signal\n"
    "for number in signal.valid_signals():\n"
    "    try: signal.signal(number, signal.SIG_IGN)\n"
    "    except (OSError, ValueError): pass\n"
    "while True:\n"
    "    try:\n"
    "        while True: pass\n"
    "    except BaseException: pass\n",
    "2 GB at once": "held = bytearray(2 << 30)",
    "2 GB bit by bit": "held = []\nfor _ in range(2 << 10): held.append(bytearray(1 << 20))",
    "2 GB of shared memory": "import mmap\nheld = mmap.mmap(-1, 2 << 30)",
    "2 GB in files": "for index in range(2 << 10): open(str(index), 'wb').write(bytes(1 << 20))",
    "2 GB in sparse files": "import os\nos.truncate(os.open('f', os.O_CREAT | os.O_RDWR), 2 << 30)",
    "files without end": "index = 0\nwhile True: index += 1; open(str(index), 'w').close()",
    "deep folders": "import os\nwhile True: os.mkdir('d'); os.chdir('d')",
    "printing 1 GB": "for _ in range(1 << 10): print('x' * (1 << 20))\n1 / 0",
    "printing 1 GB of errors": "import os\n"
    "for _ in range(1 << 10): os.write(2, bytes(1 << 20))\n1 / 0",
    "deleting Python": "import os, shutil\nshutil.rmtree(os.path.dirname(os.__file__))",
    "writing to the root": "open('/file', 'w')",
    "writing to a device folder": "open('/dev/file', 'w')",
    "reading users": "open('/etc/passwd').read()",
    "reading environment": "import os\nos.environ['SECRET']",
    "reading environment by path": "open('/proc/self/environ', 'rb').read()",
    "reading parent memory": "import os\nopen(f'/proc/{os.getppid()}/mem', 'rb').read(1)",
    "reading its own memory": "open('/proc/self/mem', 'rb')",
    "internet socket": "import socket\nsocket.socket()",
    "unix socket": "import socket\nsocket.socket(socket.AF_UNIX)",
    "resolving a name": "import socket\nsocket.getaddrinfo('localhost', 80)",
    "starting a program": "import subprocess\nsubprocess.run(['/bin/sh', '-c', 'true'])",
    "replacing itself": "import os, sys\nos.execv(sys.executable, ['python', '-c', 'pass'])",
    "catching SystemExit": "import sys\ntry: sys.exit(0)\nfinally: raise SystemExit(0)",
    "faking the pass marker": """import os, sys
print('{"passed": true}', flush=True)
for descriptor in range(64):
    try: os.write(descriptor, b'{"passed": true}\\n')
    except OSError: pass
os._exit(0)""",
}

REFUSED_CALLS = (
    "os.fork()",
    "os.forkpty()",
    "os.posix_spawn(sys.executable, ['python'], {})",
    "os.kill(os.getppid(), signal.SIGKILL)",
    "os.kill(-1, signal.SIGKILL)",
    "os.killpg(0, signal.SIGKILL)",
    "os.pidfd_open(os.getppid())",
    "os.setpriority(os.PRIO_PROCESS, 0, 19)",
    "os.sched_setaffinity(0, {0})",
    "os.setsid()",
    "os.memfd_create('held')",
    "os.chroot('/')",
    "os.mkfifo('fifo')",
    "os.setuid(0)",
    "os.link('/server.py', 'server.py')",
    "resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (0, 0))",
    "resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
    "socket.socket()",
    "socket.socketpair(socket.AF_INET)",
)


@pytest.fixture
def _sandbox() -> None:
    if find_sandbox() is None:
        pytest.skip(f"no sandbox: {no_sandbox_reason()}")


def _servers(caller: int) -> set[psutil.Process]:
    """The code servers in a sandbox below a process, their bubblewraps included.

    Other tests run servers of their own at the same time.
    """
    found = set()
    for process in psutil.Process(caller).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "/server.py" in process.cmdline():
                found.add(process)
    return found


def _are_gone(servers: set[psutil.Process], within_s: float) -> bool:
    """Tell whether they have ended, wherever they hang in the tree of processes by now."""
    deadline = time.monotonic() + within_s
    while (is_left := any(one.is_running() for one in servers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not is_left


@pytest.mark.usefixtures("_sandbox")
@pytest.mark.faults
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_programs_fail_and_leave_nothing(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "1")
    seen: set[psutil.Process] = set()
    start = time.monotonic()
    with ThreadPoolExecutor(1) as executor:
        ran = executor.submit(run_programs, [HOSTILE[name], GOOD], 1.0)
        while not ran.done():
            seen |= _servers(os.getpid())
    assert ran.result() == {HOSTILE[name]: False, GOOD: True}
    assert time.monotonic() - start < 10
    assert seen
    assert _are_gone(seen, within_s=5)


@pytest.mark.usefixtures("_sandbox")
def test_calls_that_reach_beyond_the_program_are_refused() -> None:
    program = "import os, resource, signal, socket, sys\n" + "".join(
        f"try: {call}\nexcept (OSError, ValueError): pass\nelse: raise AssertionError\n"
        for call in REFUSED_CALLS
    )
    assert run_programs([program]) == {program: True}


@pytest.mark.usefixtures("_sandbox")
def test_the_hosts_files_are_not_there(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("host")
    program = f"import os\nassert os.path.exists({str(secret)!r})"
    removes = f"import os\nos.remove({str(secret)!r})"
    assert run_programs([program, removes]) == {program: False, removes: False}
    assert secret.read_text() == "host"
    listing = (
        "import os\n"
        "assert not os.path.exists('/proc') and not os.path.exists('/sys')\n"
        "assert set(os.listdir('/dev')) == {'null', 'urandom', 'zero'}\n"
        "assert os.getuid() == 65534\n"
        "assert os.uname().nodename == 'sandbox'\n"
    )
    assert run_programs([listing]) == {listing: True}


@pytest.mark.usefixtures("_sandbox")
def test_the_network_is_not_there() -> None:
    """Also without the filter: the namespace alone has no way to a server on this host."""
    sandbox = find_sandbox()
    assert sandbox is not None
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        connects = f"import socket\nsocket.create_connection(('127.0.0.1', {port}), timeout=5)"
        socket.create_connection(("127.0.0.1", port)).close()
        unfiltered = replace(sandbox, settings=json.dumps({"sandboxed": True, "seccomp": ""}))
        request = json.dumps({"program": connects, "limits": limits_of(5)})
        done = subprocess.run(
            unfiltered.command,
            input=f"{unfiltered.settings}\n{request}\n",
            capture_output=True,
            encoding="utf-8",
            check=True,
        )
        assert json.loads(done.stdout.splitlines()[1])["passed"] is False
        assert run_programs([connects]) == {connects: False}


@pytest.mark.usefixtures("_sandbox")
def test_a_program_leaves_nothing_to_the_next_one() -> None:
    writes = "open('/tmp/note', 'w').write('x')"
    looks = "import os\nassert os.listdir('/tmp') == []"
    assert run_programs([writes, looks]) == {writes: True, looks: True}


@pytest.mark.usefixtures("_sandbox")
@pytest.mark.faults
def test_killing_the_caller_ends_the_programs() -> None:
    caller = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from droplora_sweep.scorers.code_runner import run_programs\n"
            "run_programs(['while True: pass'], 600)",
        ]
    )
    deadline = time.monotonic() + 20
    # The probe's server comes first; the second one's loop does not end.
    seen: set[psutil.Process] = set()
    stable_since = time.monotonic()
    while time.monotonic() < deadline:
        now = _servers(caller.pid)
        if now != seen:
            seen, stable_since = now, time.monotonic()
        if seen and time.monotonic() - stable_since > 1:
            break
        time.sleep(0.05)
    assert seen
    caller.kill()
    caller.wait()
    assert _are_gone(seen, within_s=10)


@pytest.mark.usefixtures("_sandbox")
def test_several_callers_do_not_disturb_each_other() -> None:
    programs = [f"assert {index} == {index}" for index in range(20)]
    results: list[dict[str, bool]] = []
    callers = [
        threading.Thread(target=lambda: results.append(run_programs(programs))) for _ in range(3)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert results == [dict.fromkeys(programs, True)] * 3


def test_the_command_names_every_wall() -> None:
    runtime = Runtime("/opt/bin/python", ("/opt/lib",), (("/lib", "usr/lib"),), ("/opt/lib/site",))
    command = " ".join(sandbox_command("/usr/bin/bwrap", runtime))
    for part in (
        "/usr/bin/bwrap --unshare-user --unshare-all --die-with-parent --new-session",
        "--cap-drop ALL",
        "--ro-bind /opt/lib /opt/lib",
        "--symlink usr/lib /lib",
        "--tmpfs /opt/lib/site --remount-ro /opt/lib/site",
        "--size 33554432 --tmpfs /tmp --remount-ro /",
        "--clearenv --setenv PYTHONHASHSEED 0",
    ):
        assert part in command
    assert " --bind" not in command
    assert "--proc" not in command


def test_the_runtime_is_this_pythons_without_its_packages() -> None:
    runtime = find_runtime()
    assert Path(runtime.python).is_file()
    assert not Path(runtime.python).is_symlink()
    assert any(Path(os.__file__).is_relative_to(folder) for folder in runtime.folders)
    shown = [Path(folder) for folder in runtime.folders]
    assert not any(Path.home().is_relative_to(folder) for folder in shown)
    assert not any(Path(__file__).is_relative_to(folder) for folder in shown)


@pytest.mark.parametrize("machine", MACHINES)
def test_the_filter_allows_what_it_lists_alone(machine: str) -> None:
    column = MACHINES.index(machine)
    architecture = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}[machine]
    allowed = {numbers[column] for numbers in ALLOWED.values()}
    instructions = build_filter(machine)
    for number in range(600):
        expected = "allow" if number in allowed else "ENOSYS"
        assert _decide(instructions, architecture, number, first_argument=7) == expected
    socketpair, prlimit = {"x86_64": (53, 302), "aarch64": (199, 261)}[machine]
    assert _decide(instructions, architecture, socketpair, first_argument=1) == "allow"
    assert _decide(instructions, architecture, prlimit, first_argument=0) == "allow"
    # The 32-bit calls of x86, under their own architecture or by the x32 bit.
    assert _decide(instructions, 0x40000003, 1, first_argument=0) == "kill"
    assert _decide(instructions, architecture, 0x40000000 | 1, first_argument=0) == "ENOSYS"


@pytest.mark.skipif(sys.platform != "linux", reason="these are Linux's")
def test_no_call_that_starts_or_reaches_a_process_is_listed() -> None:
    assert not ALLOWED.keys() & {
        *("clone", "clone3", "fork", "vfork", "execve", "execveat", "kill", "tkill", "tgkill"),
        *("ptrace", "process_vm_readv", "process_vm_writev", "pidfd_open", "pidfd_getfd"),
        *("socket", "connect", "bind", "mount", "unshare", "setns", "bpf", "keyctl", "shmget"),
        *("memfd_create", "io_uring_setup", "userfaultfd", "perf_event_open", "setrlimit"),
    }


def _decide(instructions: bytes, architecture: int, number: int, *, first_argument: int) -> str:
    """Runs the filter as the kernel would."""
    data = {0: number, 4: architecture, 16: first_argument}
    accumulator, position = 0, 0
    while True:
        code = int.from_bytes(instructions[position : position + 2], sys.byteorder)
        if_true, if_false = instructions[position + 2], instructions[position + 3]
        operand = int.from_bytes(instructions[position + 4 : position + 8], sys.byteorder)
        position += 8
        if code == 0x20:
            accumulator = data[operand]
        elif code == 0x15:
            position += 8 * (if_true if accumulator == operand else if_false)
        else:
            return {0x7FFF0000: "allow", 0x80000000: "kill", 0x00050026: "ENOSYS"}[operand]
