"""The address that `compare` prints, opened in a real browser on a real MLflow server."""

import re
import sqlite3
from contextlib import closing

import pytest

from droplora_sweep.cli import main
from tests.mlflow_ui import running_ui

from .browser import browse, needs_chromium
from .conftest import write_sweep

pytestmark = [pytest.mark.slow, needs_chromium]


@pytest.fixture
def ui(storage, tmp_path):
    """The MLflow UI of the storage, which this test publishes to first; its address."""
    write_sweep(storage, "other", num_correct=(7, 9), tracking={"experiment": "other/toy"})
    for name in ("demo", "other"):
        with pytest.raises(SystemExit) as end:
            main(["sync", name, "--storage", str(storage)])
        assert end.value.code == 0
    with running_ui(storage, tmp_path, tmp_path / "ui.log") as address:
        yield address


def link_of(storage, capsys, *options):
    """The address that `compare` prints."""
    with pytest.raises(SystemExit) as end:
        main(["compare", "demo", "other", "--storage", str(storage), *options])
    assert end.value.code == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    [link] = [
        line.removeprefix("MLflow: ")
        for line in printed.out.splitlines()
        if line.startswith("MLflow: ")
    ]
    return link


def page_of(link, folder):
    return browse(link, folder, "--virtual-time-budget=60000", "--dump-dom").stdout


@pytest.mark.timeout(600)
def test_the_link_shows_the_trials_of_the_sweeps_that_were_compared(storage, ui, tmp_path, capsys):
    link = link_of(storage, capsys, "--mlflow-address", ui)
    assert re.fullmatch(
        rf"{ui}/#/compare-experiments/s\?experiments=\S+&viewStateShareKey=droplora-\w{{8}}"
        "&compareRunsMode=CHART&workflowType=machine_learning",
        link,
    )
    page = page_of(link, tmp_path)
    assert "Displaying Runs from 2 Experiments" in page
    assert "Mean by sweep and pruning rate" in page
    # A server as --mlflow-uri has its UI at the same address.
    assert link_of(storage, capsys, "--mlflow-uri", ui) == link
    table = page_of(link.replace("=CHART", "=TABLE"), tmp_path)
    assert {"demo", "other"} <= set(re.findall(r"sweep: (\w+)", table))


@pytest.mark.timeout(600)
def test_a_store_without_views_shows_exactly_the_runs_that_were_compared(
    storage, ui, tmp_path, capsys
):
    with closing(sqlite3.connect(storage / "mlflow.db")) as database, database:
        refuses = "SELECT RAISE(ABORT, 'no tags here')"
        database.execute(f"CREATE TRIGGER t BEFORE INSERT ON experiment_tags BEGIN {refuses}; END")
    link = link_of(storage, capsys, "--mlflow-address", ui)
    assert link.startswith(f"{ui}/#/compare-runs?runs=")
    page = page_of(link, tmp_path)
    assert "Comparing 2 Runs from 2 Experiments" in page
    assert set(re.findall(r"t000\d r=8 p=[0-9.]+", page)) == {"t0001 r=8 p=0.2"}
