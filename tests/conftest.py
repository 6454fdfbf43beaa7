"""Shared fixtures: a Ray and servers of object stores on this machine, a small sweep."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests import calling, skips
from tests.faults.table import as_lines, rows_of
from tests.raylets import own_ray

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPOSITORY = Path(__file__).parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--known-skips-only",
        action="store_true",
        help="fail where a test was skipped for a reason that tests/skips.py does not list",
    )


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that left out tests for an unknown reason, once all of them are over."""
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    if terminal is None or not session.config.getoption("known_skips_only"):
        return
    skipped = [skips.reason_of(one.longrepr) for one in terminal.stats.get("skipped", [])]
    found = skips.complaints(skipped, skips.missing_programs())
    terminal.ensure_newline()
    for line in found:
        terminal.write_line(line, red=True)
    if found and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table of the faults that were injected, whichever process it was."""
    reports = [one for some in terminalreporter.stats.values() for one in some]
    ended = [one for one in reports if getattr(one, "when", None) == "teardown"]
    rows = [row for one in ended for row in rows_of(one.user_properties)]
    if rows:
        terminalreporter.section("faults")
        for line in as_lines(rows):
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def benchmark_files() -> Path:
    """The folder of the published benchmark files, where this machine has it."""
    folder = Path(os.environ.get("DROPLORA_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"{folder} does not exist; DROPLORA_TEST_DATA names the benchmark files")
    return folder


@pytest.fixture(scope="session")
def commonsense(benchmark_files: Path) -> Path:
    """The benchmarks of commonsense reasoning among them."""
    return benchmark_files / "commonsense"


@pytest.fixture(scope="session")
def case_files(benchmark_files: Path) -> Path:
    """The folder of small inputs whose right outcome is known, beside the benchmark files."""
    folder = benchmark_files.parent / "cases"
    if not folder.is_dir():
        pytest.skip(f"{folder} does not exist; it lies beside what DROPLORA_TEST_DATA names")
    return folder


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Exit code, output and complaints of a command."""
    return partial(calling.call, capsys)


@pytest.fixture(scope="session")
def small_sweep() -> Callable[..., Any]:
    """Makes a sweep of the built-in model on one built-in task whose trials take a second or two.

    Keyword arguments replace sections: ``small_sweep(group={"recycle_after": 1})``.
    """
    from droplora_sweep.spec import SweepSpec

    def make(**sections: Any) -> SweepSpec:
        return SweepSpec.model_validate(
            {
                "name": "small",
                "task": {
                    "benchmarks": ["builtin_choice"],
                    "num_train": 32,
                    "num_validation": 8,
                },
                "adapter": {"rank": 4, "alpha": 8, "pruning_rate": 0.25, "dropout": 0.0},
                "training": {
                    "learning_rate": 2e-3,
                    "epochs": 1,
                    "global_batch_size": 8,
                    "micro_batch_size": 4,
                    "warmup_steps": 0,
                },
                "evaluation": {"num_evaluations": 2, "max_new_tokens": 12},
                **sections,
            }
        )

    return make


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of its own, of 160 MB, with a path that is short enough for Ray's sockets."""
    folder = Path(tempfile.mkdtemp(prefix="disk-", dir="/tmp"))
    mount = ["mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        folder.rmdir()
        pytest.skip(f"a tmpfs cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
    folder.rmdir()


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    """A Ray of this test module's own, with two CPUs."""
    with own_ray():
        yield


@pytest.fixture(scope="session")
def s3_port() -> Iterator[int]:
    yield from _serve("moto.server", "-H", "127.0.0.1", "-p", "{port}")


@pytest.fixture(scope="session")
def gs_port() -> Iterator[int]:
    yield from _serve(
        "gcp_storage_emulator", "start", "--in-memory", "--host=127.0.0.1", "--port={port}"
    )


def _serve(*module: str) -> Iterator[int]:
    """Run a server on a free port until the tests are over."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    command = [sys.executable, "-m", *(word.format(port=port) for word in module)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
                break
            except OSError:
                assert server.poll() is None
                assert time.monotonic() < deadline, f"{module[0]} did not start"
                time.sleep(0.2)
        yield port
        server.terminate()


@pytest.fixture
def s3_url(s3_port: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """An empty bucket's URL, as a user gives it; mirrors lie below the test's folder."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody-in-particular")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "tulip-in-march")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "machine-1"))
    bucket = f"b{uuid.uuid4().hex[:12]}"
    request = urllib.request.Request(f"http://127.0.0.1:{s3_port}/{bucket}", method="PUT")
    urllib.request.urlopen(request, timeout=20)
    return (
        f"s3://{bucket}/sweeps?scheme=http&endpoint_override=127.0.0.1:{s3_port}&region=us-east-1"
    )


@pytest.fixture
def gs_url(gs_port: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Likewise, of Google Cloud Storage."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "machine-1"))
    bucket = f"b{uuid.uuid4().hex[:12]}"
    request = urllib.request.Request(
        f"http://127.0.0.1:{gs_port}/storage/v1/b?project=test",
        json.dumps({"name": bucket}).encode(),
        {"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=20)
    return f"gs://anonymous@{bucket}/sweeps?scheme=http&endpoint_override=127.0.0.1:{gs_port}"
