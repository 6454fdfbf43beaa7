"""The suite: every check in a process of its own, one after the other, until the time is up."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .case import rows_of
from .packages import versions
from .rows import as_line, failed, from_line, not_run, problem_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import TextIO

    from .rows import Row

DEADLINE_S: Final = 480.0
"""Seconds after which no check is begun, and one that runs is ended."""
GRACE_S: Final = 5.0
"""Seconds that a process has to end by itself."""
SLACK: Final = {"cuda": 1.0, "cpu": 5.0}
"""Factor of a check's seconds: a CPU computes slower, and is shared with others."""
ROOT: Final = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check.

    Attributes:
        name: Name of its module in ``checks``.
        is_core: True where it needs neither Ray nor the rest of the package's dependencies.
        limit_s: Seconds after which it is ended, so that one that hangs leaves time to others.
    """

    name: str
    is_core: bool = True
    limit_s: float


CHECKS: Final = (
    Check(name="device", limit_s=90),
    Check(name="memory", limit_s=150),
    Check(name="step", limit_s=90),
    Check(name="determinism", limit_s=90),
    Check(name="evaluation", limit_s=120),
    Check(name="zero", limit_s=90),
    Check(name="ranks", limit_s=120),
    Check(name="vllm", limit_s=240),
)
"""In the order in which they are run: what others rest on comes first."""


def chosen(names: Sequence[str], *, core: bool) -> list[Check]:
    """Return the checks of these names, or all; without Ray the core ones alone."""
    return [one for one in CHECKS if (not names or one.name in names) and (one.is_core or not core)]


def run_suite(
    checks: Sequence[Check],
    size: str,
    device: str,
    *,
    deadline_s: float = DEADLINE_S,
    log: TextIO = sys.stderr,
) -> list[Row]:
    """Run checks, and return their rows.

    Args:
        checks: The checks.
        size: Name of the model's size.
        device: ``cuda`` or ``cpu``.
        deadline_s: Seconds that all of them have.
        log: Progress, and what the checks' processes say of errors.
    """
    end_s = time.monotonic() + deadline_s
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="test-gpu-") as folder:
        for check in checks:
            left_s = end_s - time.monotonic()
            if left_s <= 0:
                reason = f"the {deadline_s:.0f} s were up before it began"
                rows.append(not_run(check.name, "all", reason))
                continue
            started_s = time.monotonic()
            limit_s = min(left_s, SLACK[device] * check.limit_s)
            found = list(_run(check, size, device, Path(folder), limit_s, log))
            rows += found
            seconds = time.monotonic() - started_s
            log.write(f"{check.name}: {len(found)} rows in {seconds:.0f} s\n")
            log.flush()
    return rows


def _run(
    check: Check, size: str, device: str, folder: Path, limit_s: float, log: TextIO
) -> Iterator[Row]:
    """Run one check in a process of its own, which is ended at its limit with all it started."""
    told = folder / f"{check.name}.rows"
    told.touch()
    limit = time.monotonic() + limit_s
    command = [sys.executable, "-m", "tests.gpu", "--check", check.name, "--rows", str(told)]
    command += ["--size", size, "--device", device, "--folder", str(folder)]
    command += ["--until", str(limit)]
    said = folder / f"{check.name}.log"
    with said.open("w") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment(folder, device),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        is_over = _ended(process, limit_s)
    rows, running = read_told(told.read_text())
    yield from rows
    if not is_over:
        yield failed(check.name, running or "start", f"not done when its {limit_s:.0f} s were up")
    elif process.returncode != 0:
        lines = said.read_text(errors="replace").strip().splitlines()
        last = lines[-1] if lines else "nothing was said"
        problem = f"its process ended with {process.returncode}: {last}"
        yield failed(check.name, running or "start", problem)
    if not is_over or process.returncode or any(row.outcome == "failed" for row in rows):
        log.write(said.read_text(errors="replace"))


def environment(folder: Path, device: str) -> dict[str, str]:
    """Return the environment of a check: this checkout, caches of its own, no network, and for
    DeepSpeed, which otherwise guesses, the device."""
    path = os.environ.get("PYTHONPATH")
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), path])),
        "PYTHONUNBUFFERED": "1",
        "XDG_CACHE_HOME": str(folder / "cache"),
        "HF_HUB_OFFLINE": "1",
        "DS_ACCELERATOR": device,
    }


def _ended(process: subprocess.Popen[Any], limit_s: float) -> bool:
    """Wait for a process; end it, and those of its session, where it is not done in time."""
    try:
        process.wait(limit_s)
        return True
    except subprocess.TimeoutExpired:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GRACE_S)
        return False


def read_told(text: str) -> tuple[list[Row], str | None]:
    """Return the rows that a check has written, and the case that it was at; None where done."""
    rows, running = [], None
    for line in text.splitlines():
        told = json.loads(line)
        if "begin" in told:
            running = told["begin"]
        elif "end" in told:
            running = None
        else:
            rows.append(from_line(line))
    return rows, running


def run_check(
    name: str, size: str, device: str, folder: Path, told: Path, until_s: float = float("inf")
) -> None:
    """Run one check in this process, and write its rows as they come.

    Args:
        name: Its name.
        size: Name of the model's size.
        device: ``cuda`` or ``cpu``.
        folder: Folder of the suite, with model and data.
        told: File of the rows.
        until_s: Time of ``time.monotonic`` from which on no case is begun.
    """
    with told.open("a") as file:

        def tell(line: str) -> None:
            file.write(line + "\n")
            file.flush()

        for row in rows_of_check(
            name, size, device, folder, until_s, lambda case: tell(json.dumps({"begin": case}))
        ):
            tell(as_line(row))
        tell(json.dumps({"end": name}))


def rows_of_check(
    name: str,
    size: str,
    device: str,
    folder: Path,
    until_s: float = float("inf"),
    begin: Any = lambda _: None,
) -> Iterator[Row]:
    """Yield the rows of one check; what keeps it from beginning is one too."""
    begin("preparation")
    try:
        from .setting import SIZES, Setting

        module = importlib.import_module(f"tests.gpu.checks.{name}")
        setting = Setting(SIZES[size], device, folder)
        setting.prepare()
    except Exception as error:  # noqa: BLE001 - a row says so, and other checks are run
        import traceback

        traceback.print_exc(file=sys.stderr)
        yield failed(name, "preparation", problem_of(error))
        return
    yield from rows_of(name, module.cases(setting), deadline_s=until_s, begin=begin)


def machine(device: str) -> dict[str, Any]:
    """Return what a reader of the numbers has to know of the machine."""
    import torch

    found: dict[str, Any] = {
        "device": device,
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "packages": versions(),
    }
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        found |= {
            "gpu": properties.name,
            "gpu_memory_gb": round(properties.total_memory / 1e9, 1),
            "gpus": torch.cuda.device_count(),
            "cuda": torch.version.cuda,
        }
    return found
