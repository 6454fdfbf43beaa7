"""Saved views as MLflow's UI reads them, which the files of the installed UI tell."""

from __future__ import annotations

import base64
import json
import re
import zlib
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import pytest

from droplora_sweep.mlflow_view.descriptions import (
    Answer,
    experiment_note,
    is_own_note,
    sweep_note,
)
from droplora_sweep.mlflow_view.stored_views import links_among
from droplora_sweep.mlflow_view.views import (
    TAG_PREFIX,
    View,
    address,
    all_sweeps_view,
    comparison_view,
    is_ours,
    key_of,
    own_views,
    sweep_view,
    tag_value,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from droplora_sweep.records.trial import SweepRecord
    from tests.ledger.conftest import Driver

LIMIT = 5000
"""Characters of an experiment's tag that MLflow 2 takes; the installed one takes 20,000."""

SEARCHED = {
    "adapter.rank": {"values": [8, 16]},
    "adapter.pruning_rate": {"values": [0.0, 0.2, 0.4]},
    "training.learning_rate": {"min": 1e-4, "max": 1e-3, "scale": "log"},
    "adapter.mask": {"values": ["token", "step"]},
}


@pytest.fixture
def sweep(make_driver: Callable[..., Driver]) -> SweepRecord:
    search = {"parameters": SEARCHED, "metric": "val/choice"}
    return make_driver("first", search=search, confirm={"seeds": 3}).ledger.record


@cache
def installed_ui() -> str:
    """The scripts of the UI that is installed with MLflow."""
    folder = Path(mlflow.__file__).parent / "server" / "js" / "build" / "static" / "js"
    files = sorted(folder.glob("*.js"))
    assert files, f"no UI in {folder}"
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def names_after(first: str) -> set[str]:
    """The names of the longest list in the UI that begins with this one."""
    lists = re.finditer(rf'\["{first}"(,"\w+")+\]', installed_ui())
    return set(max((json.loads(found[0]) for found in lists), key=len))


def opened(view: View) -> dict[str, Any]:
    """The state that MLflow's UI gets from a view's tag, read as its scripts do."""
    saved = json.loads(tag_value(view))
    assert isinstance(saved["createdAt"], int)
    scheme, _, packed = saved["state"].partition(";")
    assert scheme == "deflate"
    state: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(packed)))
    return state


def test_the_installed_ui_reads_what_a_view_has(sweep: SweepRecord) -> None:
    ui = installed_ui()
    for text in (TAG_PREFIX, "viewStateShareKey", "compareRunsMode", "deflate;", '"CHART"'):
        assert text in ui, text
    read = names_after("searchFilter") | names_after("selectedColumns")
    dropped = names_after("runsExpanded")
    for view in (sweep_view(sweep), all_sweeps_view(), comparison_view([sweep], ["a" * 32])):
        state = opened(view)
        assert state.keys() <= read - dropped, state.keys() - read
        for chart in state["compareRunCharts"]:
            assert re.search(rf'e\.{chart["type"]}="{chart["type"]}"', ui), chart["type"]
        sections = {section["uuid"] for section in state["compareRunSections"]}
        assert {chart["metricSectionId"] for chart in state["compareRunCharts"]} == sections


def test_a_sweep_s_trials_are_a_table_of_what_matters_the_best_first(sweep: SweepRecord) -> None:
    state = opened(sweep_view(sweep))
    assert state["searchFilter"] == (
        f"tags.sweep_id = '{sweep.sweep_id}' and tags.trial_id != ''"
    ), "neither the parent nor summary runs"
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`val/choice`", False)
    assert state["selectedColumns"] == [
        *(f"params.`{name}`" for name in ("rank", "alpha", "pruning_rate", "learning_rate")),
        *("params.`mask`", "metrics.`val/choice`"),
        *("metrics.`confirm/mean`", "metrics.`test/choice`", "tags.`state`", "tags.`stage`"),
    ]
    assert state["columnOrder"] == state["selectedColumns"]
    assert state["runsHiddenMode"] == "SHOW_ALL", "MLflow's own shows the first ten"


def test_its_charts_are_score_against_rate_all_settings_and_learning_curves(
    sweep: SweepRecord,
) -> None:
    state = opened(sweep_view(sweep))
    names = [section["name"] for section in state["compareRunSections"]]
    assert names == ["Score against pruning rate", "All settings", "Learning curves"]
    charts = state["compareRunCharts"]
    kinds = [chart["type"] for chart in charts]
    assert kinds == ["SCATTER", "SCATTER", "PARALLEL", "LINE", "LINE"]
    assert charts[0]["xaxis"] == {"key": "pruning_rate", "type": "PARAM"}
    assert charts[0]["yaxis"] == {"key": "val/choice", "type": "METRIC"}
    assert set(charts[2]["selectedParams"]) >= {"rank", "pruning_rate", "learning_rate", "mask"}
    assert [chart["metricKey"] for chart in charts[3:]] == ["val/choice", "train/loss"]


def test_where_less_is_better_the_least_comes_first(make_driver: Callable[..., Driver]) -> None:
    search = {"metric": "bits_per_byte/val/mean"}
    driver = make_driver(search=search, evaluation={"likelihood": True})
    assert opened(sweep_view(driver.ledger.record))["orderByAsc"] is True


def test_sweeps_side_by_side_are_grouped_by_sweep_and_rate(sweep: SweepRecord) -> None:
    other = replace(sweep, sweep_id="f" * 32, name="second")
    view = comparison_view([sweep, other], ["a" * 32, "b" * 32])
    state = opened(view)
    assert view.name == "comparison: first, second"
    assert state["searchFilter"] == f"attributes.run_id IN ('{'a' * 32}', '{'b' * 32}')"
    assert [key["groupByData"] for key in state["groupBy"]["groupByKeys"]] == [
        *("sweep", "pruning_rate"),
    ]
    assert view.key == comparison_view([sweep, other], ["c" * 32]).key, "made anew, not once more"
    assert view.key != comparison_view([other, sweep], ["a" * 32]).key


def test_views_fit_into_the_tags_of_older_servers(sweep: SweepRecord) -> None:
    runs = [f"{number:032x}" for number in range(0, 100 * 16**25, 16**25)]
    for view in (sweep_view(sweep), all_sweeps_view(), comparison_view([sweep], runs)):
        assert len(tag_value(view)) <= LIMIT, view.name


def test_a_view_that_a_user_has_changed_is_known(sweep: SweepRecord) -> None:
    value = tag_value(sweep_view(sweep))
    assert value == tag_value(sweep_view(sweep))
    assert is_ours(value)
    saved = json.loads(value)
    # As MLflow's own "Overwrite" writes it.
    by_mlflow = {name: saved[name] for name in ("name", "createdAt", "updatedAt", "state")}
    changed = (
        json.dumps(by_mlflow),
        json.dumps({**saved, "name": "mine"}),
        json.dumps({**saved, "state": "{}"}),
        value[:100],
        "deflate;eJw=",
        "[]",
    )
    assert [is_ours(each) for each in changed] == [False] * len(changed)
    tags = {TAG_PREFIX + "droplora-1": json.dumps(by_mlflow), TAG_PREFIX + "2": value}
    assert own_views(tags) == {"droplora-1": ("first", saved["createdAt"])}
    assert own_views({TAG_PREFIX + "droplora-1": value[:100]}) == {}


def test_addresses_name_the_experiments(sweep: SweepRecord) -> None:
    asked = f"viewStateShareKey={key_of(sweep)}"
    end = "workflowType=machine_learning"
    assert address(key_of(sweep), "7") == f"#/experiments/7/runs?{asked}&{end}"
    several = address(key_of(sweep), "7", "12", charts=True)
    assert several == (
        f"#/compare-experiments/s?experiments=%5B%227%22%2C%2212%22%5D&{asked}"
        f"&compareRunsMode=CHART&{end}"
    )


def tags_of(*views: View) -> dict[str, str]:
    return {TAG_PREFIX + view.key: tag_value(view) for view in views}


def test_links_of_a_sweep_have_the_comparison_where_there_are_others(sweep: SweepRecord) -> None:
    other = replace(sweep, sweep_id="f" * 32, name="second")
    alone = tags_of(sweep_view(sweep), all_sweeps_view())
    assert list(links_among("7", alone, sweep)) == ["trials", "charts"]
    both = alone | tags_of(sweep_view(other))
    assert list(links_among("7", both, sweep)) == ["trials", "charts", "all sweeps"]
    assert links_among("7", alone, other) == {}


def test_an_experiment_is_described_by_links_until_a_user_describes_it(sweep: SweepRecord) -> None:
    later = replace(
        sweep, sweep_id="f" * 32, name="later", started=sweep.started.replace(year=2090)
    )
    comparison = comparison_view([sweep, later], ["a" * 32])
    tags = tags_of(sweep_view(sweep), sweep_view(later), all_sweeps_view(), comparison)
    note = experiment_note("7", tags)
    newest, _, older, *_ = note.splitlines()
    assert newest == (
        f"later: [trials]({address(key_of(later), '7')})"
        f" · [charts]({address(key_of(later), '7', charts=True)})"
        f" · [all sweeps]({address('droplora-sweeps', '7', charts=True)})"
    )
    assert older.startswith(f"first: [trials]({address(key_of(sweep), '7')}) · ")
    assert is_own_note(note)
    assert not is_own_note(note.replace("later", "the best"))
    assert not is_own_note("later")


def test_a_parent_run_is_described_by_the_answer_and_links(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("arc: use p = 0.2\nmean: 0\n")
    (tmp_path / "report.html").write_text("a page")
    (tmp_path / "report.json").write_text('{"name": "demo", "advice": "Use a rate of 0.2."}')
    advice, _, links, _, *lines = sweep_note(
        "7", "ab", "droplora-1", Answer.read(tmp_path)
    ).splitlines()
    assert advice == "**Use a rate of 0.2.**"
    report, *views = links.split(" · ")
    assert report == (
        "[report](#/experiments/7/runs/ab/artifacts/summary/report.html"
        "?workflowType=machine_learning)"
    )
    assert [view.partition("]")[0] for view in views] == ["[trials", "[charts"]
    assert lines == ["* arc: use p = 0.2", "* mean: 0"]
    (tmp_path / "report.json").write_text('{"name": "demo"}')
    earlier = sweep_note("7", "ab", "droplora-1", Answer.read(tmp_path))
    assert earlier.startswith("[report]"), "of a version whose data has no advice"
    assert sweep_note("7", "ab", None, Answer.read(tmp_path / "nowhere")) == ""
    assert len(sweep_note("7", "ab", None, Answer("x" * 9000))) == LIMIT
