"""Sandbox of untrusted programs: bubblewrap's namespaces around the code server.

Inside there is no network, no process of the host, no environment, no ``/proc`` and no file but
Python's standard library and the system's shared libraries, read-only; the one writable folder is
in memory and small. What a single program may do in there, ``_seccomp`` and ``_code_server`` say.
Nothing here needs privileges where the system lets users make namespaces, and nothing is weaker
for root, who inside is an unprivileged user like any other.

Not limited is the number of empty files: in five seconds a program can make so many that the
kernel holds some 500 MB for them, until the server ends, which it does right after that program.
"""

from __future__ import annotations

import base64
import functools
import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ._seccomp import MACHINES, build_filter

WRITABLE_BYTES: Final = 32 << 20
"""Most bytes that all files of a program can take together."""

SERVER: Final = Path(__file__).with_name("_code_server.py")

PYTHON_FLAGS: Final = ("-s", "-S", "-P", "-B", "-X", "utf8")
"""Flags of ``-I`` except that the environment is read, for the seed in ``ENVIRONMENT``."""

ENVIRONMENT: Final = {"PYTHONHASHSEED": "0"}
"""A fixed seed, so that the order of a set, and with it an outcome, is the same in every run."""

_PROBE_LIMIT_S: Final = 20.0

_LIBRARY_FOLDERS: Final = ("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64")

_UNPRIVILEGED_ID: Final = "65534"


@dataclass(frozen=True)
class Sandbox:
    """A way to run the code server that was tried and works.

    Attributes:
        command: Command that takes requests as input and gives outcomes as output.
        settings: The server's first line of input.
    """

    command: tuple[str, ...]
    settings: str


@dataclass(frozen=True)
class Runtime:
    """The files of the host that the sandbox shows, read-only.

    Attributes:
        python: The interpreter's own file, not a venv's link to it.
        folders: Its standard library and the system's shared libraries.
        links: Folders that are links on this host, with their targets.
        hidden: Folders of installed packages within ``folders``.
    """

    python: str
    folders: tuple[str, ...]
    links: tuple[tuple[str, str], ...]
    hidden: tuple[str, ...]


def find_sandbox() -> Sandbox | None:
    """Return the sandbox of this machine, tried once per process; None if there is none.

    What is tried is a program that passes: user namespaces, the filter and the libraries all have
    to work for that.
    """
    found = _probe(shutil.which("bwrap"))
    return found if isinstance(found, Sandbox) else None


def no_sandbox_reason() -> str | None:
    """Return the reason why ``find_sandbox`` found none, in one line; None if it found one."""
    found = _probe(shutil.which("bwrap"))
    return found if isinstance(found, str) else None


@functools.cache
def _probe(bubblewrap: str | None) -> Sandbox | str:
    """Return the sandbox, or the reason for none."""
    if sys.platform != "linux":
        return f"the sandbox needs Linux, got {sys.platform}"
    if platform.machine() not in MACHINES:
        return f"the system call filter knows {' and '.join(MACHINES)}, got {platform.machine()}"
    if bubblewrap is None:
        return "bubblewrap must be installed, got no `bwrap` on PATH"
    settings = {
        "sandboxed": True,
        "seccomp": base64.b64encode(build_filter(platform.machine())).decode(),
    }
    sandbox = Sandbox(sandbox_command(bubblewrap, find_runtime()), json.dumps(settings))
    limits = dict.fromkeys(("cpu_s", "idle_s", "wall_s"), _PROBE_LIMIT_S)
    request = json.dumps({"program": "pass", "limits": limits})
    try:
        tried = subprocess.run(
            sandbox.command,
            input=f"{sandbox.settings}\n{request}\n",
            capture_output=True,
            env=ENVIRONMENT,
            encoding="utf-8",
            check=False,
            timeout=2 * _PROBE_LIMIT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"bubblewrap must run a program, got {error}"
    answers = [json.loads(line) for line in tried.stdout.splitlines()]
    if len(answers) == 2 and answers[1]["passed"]:
        return sandbox
    said = tried.stderr.strip().splitlines()
    return f"bubblewrap must run a program, got {said[-1] if said else tried.returncode}"


def find_runtime() -> Runtime:
    """Return the files that this interpreter needs to run without installed packages."""
    standard_library = sysconfig.get_path("stdlib")
    wanted = [
        *_LIBRARY_FOLDERS,
        # Where a Python of its own prefix keeps its shared library, as Docker's and Conda's do.
        str(Path(sys.base_prefix, "lib")),
        standard_library,
        sysconfig.get_path("platstdlib", vars={"platbase": sys.base_exec_prefix}),
    ]
    existing = [folder for folder in dict.fromkeys(wanted) if Path(folder).is_dir()]
    linked = [folder for folder in existing if Path(folder).is_symlink()]
    folders = [folder for folder in existing if folder not in linked]
    outermost = tuple(
        folder
        for folder in folders
        if not any(Path(folder).is_relative_to(other) for other in folders if other != folder)
    )
    packages = (
        *(str(Path(standard_library, name)) for name in ("site-packages", "dist-packages")),
        str(Path(sys.base_prefix, "lib", "python3", "dist-packages")),
        "/usr/lib/python3/dist-packages",
    )
    return Runtime(
        python=os.path.realpath(sys.executable),
        folders=outermost,
        links=tuple((folder, str(Path(folder).readlink())) for folder in linked),
        hidden=tuple(folder for folder in dict.fromkeys(packages) if Path(folder).is_dir()),
    )


def sandbox_command(bubblewrap: str, runtime: Runtime) -> tuple[str, ...]:
    """Return the command line that starts the code server in namespaces of its own."""
    arguments = [bubblewrap, "--unshare-user", "--unshare-all", "--die-with-parent"]
    arguments += ["--new-session", "--cap-drop", "ALL", "--hostname", "sandbox"]
    arguments += ["--uid", _UNPRIVILEGED_ID, "--gid", _UNPRIVILEGED_ID]
    for folder in runtime.folders:
        arguments += ["--ro-bind", folder, folder]
    for folder, target in runtime.links:
        arguments += ["--symlink", target, folder]
    for folder in runtime.hidden:
        arguments += ["--tmpfs", folder, "--remount-ro", folder]
    arguments += ["--ro-bind", runtime.python, runtime.python]
    # The loader's list of libraries; without it only the default folders are searched.
    arguments += ["--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]
    arguments += ["--ro-bind", str(SERVER), "/server.py"]
    for device in ("/dev/null", "/dev/urandom", "/dev/zero"):
        arguments += ["--dev-bind", device, device]
    arguments += ["--size", str(WRITABLE_BYTES), "--tmpfs", "/tmp", "--remount-ro", "/"]
    arguments += ["--chdir", "/tmp", "--clearenv"]
    for name, value in ENVIRONMENT.items():
        arguments += ["--setenv", name, value]
    return (*arguments, runtime.python, *PYTHON_FLAGS, "/server.py")
