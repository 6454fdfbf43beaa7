"""A sweep as MLflow's UI shows it, in a real browser on a real server."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

import pytest
from mlflow import MlflowClient

from droplora_sweep.ledger.writer import LedgerWriter
from droplora_sweep.mlflow_view.publisher import publish_all
from droplora_sweep.mlflow_view.stored_views import stored_links
from droplora_sweep.mlflow_view.ui import mlflow_uri
from droplora_sweep.records.layout import REPORT_PAGE, SUMMARY_TEXT
from tests.ledger.conftest import Driver, make_sweep
from tests.mlflow_ui import running_ui
from tests.present.report.browser import browse, needs_chromium

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.slow, needs_chromium, pytest.mark.timeout(900)]

RATES = (0.0, 0.2, 0.4)
REPORT = "<!DOCTYPE html><title>Report</title><h1>Try a pruning rate of 0.2</h1>"


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    """The first of two published sweeps of one task."""
    storage = tmp_path_factory.mktemp("shown") / "results"
    drivers = []
    for name in ("first", "second"):
        digests = {"choice/train": "ab" * 32, "choice/test": "cd" * 32}
        ledger = LedgerWriter.create(storage, sweep := make_sweep(name), data_digests=digests)
        drivers.append(Driver(ledger, sweep))
        for number, rate in enumerate(RATES):
            trial = drivers[-1].start(number, pruning_rate=rate)
            for evaluation in (1, 2):
                drivers[-1].report(trial, evaluation, score=(number + evaluation) / 8)
            drivers[-1].finish(trial)
        ledger.summary_directory.mkdir()
        (ledger.summary_directory / REPORT_PAGE).write_text(REPORT)
        (ledger.summary_directory / SUMMARY_TEXT).write_text("choice: use p = 0.2\n")
        assert publish_all(ledger).is_complete
    yield drivers[0]
    for each in drivers:
        each.ledger.close()


@pytest.fixture(scope="module")
def ui(driver: Driver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("ui")
    with running_ui(driver.ledger.storage, folder, folder / "ui.log") as address:
        yield address


@pytest.fixture
def page(ui: str, tmp_path: Path) -> Callable[[str], str]:
    """Opens an address of the UI; the text of the page as it is after a minute of its own."""

    def open_page(where: str) -> str:
        options = ("--virtual-time-budget=60000", "--window-size=1600,3000", "--dump-dom")
        shown = browse(f"{ui}/{where}", tmp_path, *options).stdout
        assert "Error loading shared view state" not in shown
        return html.unescape(shown)

    return open_page


def found(driver: Driver) -> dict[str, str]:
    return stored_links(driver.ledger.storage, driver.ledger.record)


def test_trials_are_a_table_with_the_best_first(driver: Driver, page: Callable[[str], str]) -> None:
    shown = page(found(driver)["trials"])
    rows = re.findall(r">(t000\d r=8 p=[\d.]+)<", shown)
    assert list(dict.fromkeys(rows)) == ["t0002 r=8 p=0.4", "t0001 r=8 p=0.2", "t0000 r=8 p=0"]
    header = r'role="columnheader"[^>]* col-id="([^"]+)"[^>]* style="left: (\d+)px'
    places = {column: int(left) for column, left in re.findall(header, shown)}
    wanted = ["params.`rank`", "params.`alpha`", "params.`pruning_rate`", "params.`learning_rate`"]
    wanted += ["metrics.`val/mean`", "tags.`state`"]
    assert sorted(wanted, key=places.__getitem__) == wanted
    assert "You're viewing a shared view" in shown


def test_charts_show_score_against_rate_settings_and_curves(
    driver: Driver, page: Callable[[str], str]
) -> None:
    shown = page(found(driver)["charts"])
    for name in ("Score against pruning rate", "All settings", "Learning curves"):
        assert name in shown
    for name in ("pruning_rate vs. val/mean", "Parallel Coordinates"):
        assert name in shown
    assert "No chart data available" not in shown


def test_all_sweeps_are_side_by_side(driver: Driver, page: Callable[[str], str]) -> None:
    shown = page(found(driver)["all sweeps"])
    assert "Mean by sweep and pruning rate" in shown
    table = page(found(driver)["all sweeps"].replace("=CHART", "=TABLE"))
    assert set(re.findall(r"sweep: (\w+)", table)) == {"first", "second"}


def test_a_sweep_s_page_links_to_its_report_which_opens(
    driver: Driver, page: Callable[[str], str]
) -> None:
    client = MlflowClient(mlflow_uri(driver.ledger.storage))
    experiment = driver.experiment_id(client)
    runs = client.search_runs([experiment], "tags.sweep = 'first'")
    [parent] = [run.info.run_id for run in runs if "trial_id" not in run.data.tags]
    shown = page(f"#/experiments/{experiment}/runs/{parent}")
    assert "choice: use p = 0.2" in shown
    [report] = re.findall(r'<a [^>]*href="(#[^"]+)">report</a>', shown)
    assert "/artifacts/summary/report.html?" in report
    assert "report.html" in page(report)


def test_a_trial_s_adapter_and_examples_open(driver: Driver, page: Callable[[str], str]) -> None:
    client = MlflowClient(mlflow_uri(driver.ledger.storage))
    experiment = driver.experiment_id(client)
    [run, *_] = client.search_runs([experiment], "tags.sweep = 'first' and tags.trial_id != ''")
    at = f"#/experiments/{experiment}/runs/{run.info.run_id}"
    assert "choice/train" in page(at), "its datasets"
    assert "adapter_config.json" in page(f"{at}/artifacts/adapter")
    table = page(f"{at}/artifacts/results.json")
    assert {"benchmark", "response", "e0", "A: a"} <= set(re.findall(r">([^<>]+)<", table))
