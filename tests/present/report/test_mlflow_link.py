"""The address that `compare` prints, opened in a real browser on a real MLflow server."""

import re

import pytest

from droplora_sweep.cli import main
from tests.mlflow_ui import running_ui

from .browser import browse, needs_chromium
from .conftest import write_sweep

pytestmark = [pytest.mark.slow, needs_chromium]


@pytest.fixture
def ui(storage, tmp_path):
    """The MLflow UI of the storage, which this test publishes to first; its address."""
    write_sweep(storage, "other", num_correct=(7, 9))
    for name in ("demo", "other"):
        with pytest.raises(SystemExit) as end:
            main(["sync", name, "--storage", str(storage)])
        assert end.value.code == 0
    with running_ui(storage, tmp_path, tmp_path / "ui.log") as address:
        yield address


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
