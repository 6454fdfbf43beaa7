"""A real S3 server on this machine, and a bucket of its own for each test."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def s3_port() -> Iterator[int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/moto-api/data.json", timeout=5)
                break
            except (urllib.error.URLError, ConnectionError):
                assert server.poll() is None
                assert time.monotonic() < deadline, "moto did not start"
                time.sleep(0.2)
        yield port
        server.terminate()


@pytest.fixture
def url(s3_port: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
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
