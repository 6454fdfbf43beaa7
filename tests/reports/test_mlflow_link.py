"""The address that `compare` prints, opened in a real browser on a real MLflow server."""

import os
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

import pytest

from droplora_sweep.cli import main
from droplora_sweep.tracking import ui_command

from .browser import browse, needs_chromium
from .conftest import write_sweep

START_LIMIT_S = 120

pytestmark = [pytest.mark.slow, needs_chromium]


@pytest.fixture
def ui(storage, tmp_path):
    """The MLflow UI of the storage, which this test publishes to first; its address."""
    write_sweep(storage, "other", num_correct=(7, 9))
    for name in ("demo", "other"):
        with pytest.raises(SystemExit) as end:
            main(["sync", name, "--storage", str(storage)])
        assert end.value.code == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command, environment = ui_command(storage, port)
    with (tmp_path / "ui.log").open("w") as log:
        process = subprocess.Popen(
            command,
            cwd=tmp_path,
            env={**os.environ, **environment},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + START_LIMIT_S
    while True:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=10):
                break
        except (urllib.error.URLError, ConnectionError):
            assert process.poll() is None, (tmp_path / "ui.log").read_text()
            assert time.monotonic() < deadline, (tmp_path / "ui.log").read_text()
            time.sleep(0.2)
    yield address
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(30)


@pytest.mark.timeout(600)
def test_the_link_shows_exactly_the_runs_that_were_compared(storage, ui, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["compare", "demo", "other", "--storage", str(storage), "--mlflow-address", ui])
    [link] = [
        line.removeprefix("MLflow: ")
        for line in capsys.readouterr().out.splitlines()
        if line.startswith("MLflow: ")
    ]
    assert link.startswith(f"{ui}/#/compare-runs?runs=")
    page = browse(link, tmp_path, "--virtual-time-budget=60000", "--dump-dom").stdout
    assert "Comparing 2 Runs from 2 Experiments" in page
    assert set(re.findall(r"t000\d r=8 p=[0-9.]+", page)) == {"t0001 r=8 p=0.2"}
    # A server as --mlflow-uri has its UI at the same address.
    with pytest.raises(SystemExit):
        main(["compare", "demo", "other", "--storage", str(storage), "--mlflow-uri", ui])
    assert f"MLflow: {link}\n" in capsys.readouterr().out
