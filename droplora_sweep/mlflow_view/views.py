"""Saved views of MLflow's list of runs: what a sweep, or several, open as; pure functions.

MLflow keeps a view as a tag of the experiment, ``mlflow.sharedViewState.<key>``, and opens it where
an address has ``viewStateShareKey=<key>``. Its value, as MLflow 3.16 and later write it, is a JSON
object with a name, two times in ms, and the state of the page: JSON, zlib, base64.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from droplora_sweep.spec.metric_names import (
    MEAN,
    TRAIN_LOSS,
    is_likelihood,
    score_name,
)

from .values import param_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from droplora_sweep.records.trial import SweepRecord

TAG_PREFIX = "mlflow.sharedViewState."
OWN = "droplora-"
"""Beginning of the keys of views that are made here."""
WORKFLOW = "workflowType=machine_learning"
"""Part of an address that keeps MLflow from its GenAI pages, on which it opens otherwise."""

ALL_SWEEPS = f"{OWN}sweeps"
"""Key of the view of all sweeps of an experiment."""

COMPRESSED = "deflate;"
MARK = "droplora"
"""Field of a view's tag that vouches for its name and state; MLflow drops it where a user changes
the view."""

ALWAYS = ("adapter.rank", "adapter.alpha", "adapter.pruning_rate", "training.learning_rate")
PRUNING_RATE = param_name("adapter.pruning_rate")
COLUMN_WIDTH = 115
"""Pixels of a column: MLflow's own are too narrow for `learning_rate`."""
MOST_RUNS = 100
"""Runs that a chart shows at most, and that MLflow's list loads at once."""
MOST_BENCHMARKS = 4
"""Benchmarks that have charts and columns of their own, where there are not more."""


@dataclass(frozen=True)
class View:
    """A saved view.

    Attributes:
        key: Names it in addresses.
        name: Names it in MLflow's menu.
        state: State of the page: columns, filter, order, charts.
        time_ms: Time at which it counts as made; by it the newest of several is known.
    """

    key: str
    name: str
    state: Mapping[str, Any]
    time_ms: int = 0


def address(key: str, *experiment_ids: str, charts: bool = False) -> str:
    """Return where MLflow's UI opens a view: the end of the address, from ``#``.

    >>> address("droplora-1a2b3c4d", "7")
    '#/experiments/7/runs?viewStateShareKey=droplora-1a2b3c4d&workflowType=machine_learning'

    Args:
        key: The view's.
        experiment_ids: Experiments whose runs it shows, and which all have its tag.
        charts: Open its charts, not its table.
    """
    asked = f"viewStateShareKey={key}{'&compareRunsMode=CHART' if charts else ''}&{WORKFLOW}"
    if len(experiment_ids) == 1:
        return f"#/experiments/{experiment_ids[0]}/runs?{asked}"
    ids = quote(json.dumps(experiment_ids, separators=(",", ":")))
    return f"#/compare-experiments/s?experiments={ids}&{asked}"


def all_sweeps(experiment_id: str) -> str:
    """Return where the view of all sweeps of an experiment opens."""
    return address(ALL_SWEEPS, experiment_id, charts=True)


def links(key: str, experiment_id: str) -> dict[str, str]:
    """Return the addresses at which a view opens as ``trials`` and as ``charts``."""
    return {
        "trials": address(key, experiment_id),
        "charts": address(key, experiment_id, charts=True),
    }


def sweep_view(sweep: SweepRecord) -> View:
    """Return the view of one sweep: a table of its trials, and charts of them."""
    metric, params = sweep.spec["search"]["metric"], _params(sweep)
    subjects = sweep.spec["task"]["benchmarks"]
    subjects = subjects if len(subjects) <= MOST_BENCHMARKS else []
    confirmed = [score_name(MEAN, sweep.confirmed_on)] if sweep.spec.get("confirm") else []
    tested = [score_name(name, "test") for name in subjects] if confirmed else []
    means = list(dict.fromkeys((metric, *confirmed)))
    against = [*means, *(score_name(name) for name in subjects if len(subjects) > 1)]
    state = {
        **_page(
            f"tags.sweep_id = '{sweep.sweep_id}' and tags.trial_id != ''",
            _columns(params, [*means, *tested], ("state", "stage")),
            metric,
        ),
        **_sections(
            {
                "Score against pruning rate": [_scatter(PRUNING_RATE, name) for name in against],
                "All settings": [_parallel(params, [metric])],
                "Learning curves": [_line(name) for name in (metric, TRAIN_LOSS)],
            }
        ),
    }
    return View(key_of(sweep), sweep.name, state, round(sweep.started.timestamp() * 1000))


def key_of(sweep: SweepRecord) -> str:
    """Return the key of a sweep's view."""
    return f"{OWN}{sweep.sweep_id[:8]}"


def all_sweeps_view() -> View:
    """Return the view of all sweeps of an experiment, side by side."""
    return _comparison(ALL_SWEEPS, "all sweeps, compared", "tags.trial_id != ''")


def comparison_view(sweeps: Sequence[SweepRecord], run_ids: Sequence[str]) -> View:
    """Return a view of some sweeps, side by side.

    Args:
        sweeps: The sweeps.
        run_ids: Those of their runs that it shows; MLflow's filter knows no "or".
    """
    ids = ",".join(sweep.sweep_id for sweep in sweeps)
    key = OWN + hashlib.sha256(ids.encode()).hexdigest()[:8]
    wanted = ", ".join(f"'{run_id}'" for run_id in run_ids)
    name = "comparison: " + ", ".join(sweep.name for sweep in sweeps)
    return _comparison(key, name, f"attributes.run_id IN ({wanted})")


def _comparison(key: str, name: str, wanted: str) -> View:
    scores = [score_name(MEAN, split) for split in ("validation", "confirmation")]
    params = [param_name(path) for path in ALWAYS]
    state = {
        **_page(wanted, _columns(params, scores, ("state",)), scores[0]),
        **_sections(
            {
                "Mean by sweep and pruning rate": [_bars(each) for each in scores],
                "Score against pruning rate": [_scatter(PRUNING_RATE, each) for each in scores],
                "All settings": [_parallel(params, scores[:1])],
                "Learning curves": [_line(scores[0]), _line(TRAIN_LOSS)],
            }
        ),
        "groupBy": {
            "aggregateFunction": "average",
            "groupByKeys": [
                {"mode": "tag", "groupByData": "sweep"},
                {"mode": "param", "groupByData": PRUNING_RATE},
            ],
        },
    }
    return View(key, name, state)


def tag_value(view: View) -> str:
    """Return the value of a view's tag."""
    state = json.dumps(view.state, sort_keys=True, separators=(",", ":"))
    packed = COMPRESSED + base64.b64encode(zlib.compress(state.encode(), 9)).decode()
    times = {"createdAt": view.time_ms, "updatedAt": view.time_ms}
    mark = _digest(view.name, packed)
    return json.dumps({"name": view.name, **times, "state": packed, MARK: mark})


def own_views(tags: Mapping[str, str]) -> dict[str, tuple[str, int]]:
    """Return name and time in ms of each view that an experiment's tags have of here, by its key.

    Those that a user has changed since are among them.
    """
    found = {}
    for tag, value in tags.items():
        if tag.startswith(TAG_PREFIX + OWN):
            try:
                saved = json.loads(value)
                found[tag.removeprefix(TAG_PREFIX)] = (str(saved["name"]), int(saved["createdAt"]))
            except (ValueError, KeyError, TypeError):
                continue  # A server has shortened it.
    return found


def is_ours(value: str) -> bool:
    """Return True for a value of `tag_value` that no user has changed since."""
    try:
        saved = json.loads(value)
        return bool(saved[MARK] == _digest(saved["name"], saved["state"]))
    except (ValueError, KeyError, TypeError):
        return False


def _digest(name: str, state: str) -> str:
    return hashlib.sha256(f"{name}\n{state}".encode()).hexdigest()[:16]


def _params(sweep: SweepRecord) -> list[str]:
    """Params that a table has columns of: those that matter always, then others searched."""
    searched = sweep.spec["search"]["parameters"]
    return list(dict.fromkeys(map(param_name, (*ALWAYS, *searched))))


def _columns(params: Iterable[str], metrics: Iterable[str], tags: Iterable[str]) -> list[str]:
    return [
        *(f"params.`{name}`" for name in params),
        *(f"metrics.`{name}`" for name in metrics),
        *(f"tags.`{name}`" for name in tags),
    ]


def _page(wanted: str, columns: list[str], metric: str) -> dict[str, Any]:
    """The list of runs, the best first; only by time MLflow puts trials below their parents."""
    return {
        "searchFilter": wanted,
        "orderByKey": f"metrics.`{metric}`",
        "orderByAsc": is_likelihood(metric),
        "selectedColumns": columns,
        "columnOrder": columns,
        "columnWidths": dict.fromkeys(columns, COLUMN_WIDTH),
        "runsHiddenMode": "SHOW_ALL",
        "hideEmptyCharts": True,
    }


def _sections(charts: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Charts by the name of their section; MLflow adds closed ones for all other metrics."""
    return {
        "compareRunSections": [
            {
                "uuid": f"section-{number}",
                "name": name,
                "display": True,
                "isReordered": True,
                "columns": {1: 1, 2: 2, 4: 2}.get(len(these), 3),
            }
            for number, (name, these) in enumerate(charts.items())
        ],
        "compareRunCharts": [
            {
                "uuid": f"chart-{number}-{place}",
                "metricSectionId": f"section-{number}",
                "deleted": False,
                "isGenerated": False,
                **chart,
            }
            for number, these in enumerate(charts.values())
            for place, chart in enumerate(these)
        ],
        "isAccordionReordered": True,
    }


def _scatter(param: str, metric: str) -> dict[str, Any]:
    return {
        "type": "SCATTER",
        "xaxis": {"key": param, "type": "PARAM"},
        "yaxis": {"key": metric, "type": "METRIC"},
        "runsCountToCompare": MOST_RUNS,
    }


def _parallel(params: Sequence[str], metrics: Sequence[str]) -> dict[str, Any]:
    return {
        "type": "PARALLEL",
        "selectedParams": list(params),
        "selectedMetrics": list(metrics),
        "showAllRuns": True,
    }


def _line(metric: str) -> dict[str, Any]:
    return {
        "type": "LINE",
        "metricKey": metric,
        "selectedMetricKeys": [metric],
        "displayName": f"{metric} by step",
        "xAxisKey": "step",
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "xAxisScaleType": "linear",
        "scaleType": "linear",
        "range": {},
        "lineSmoothness": 0,
        "displayPoints": True,
        "ignoreOutliers": False,
        "useGlobalXaxisKey": False,
        "useGlobalLineSmoothing": False,
        "runsCountToCompare": MOST_RUNS,
    }


def _bars(metric: str) -> dict[str, Any]:
    return {
        "type": "BAR",
        "metricKey": metric,
        "selectedMetricKeys": [metric],
        "displayName": metric,
        "runsCountToCompare": MOST_RUNS,
    }
