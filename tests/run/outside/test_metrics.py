"""Metrics of a real sweep, read as Prometheus reads them, and the dashboard that shows them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import urlopen

import pytest

from droplora_sweep.run.outside.metrics import METRICS, PREFIX, STATES
from tests.raylets import running_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
DASHBOARD = ROOT / "cluster" / "grafana" / "droplora-sweep.json"
SMALL = {
    "search.num_trials": 2,
    "search.queue_baselines": False,
    "task.benchmarks": "[builtin_choice]",
    "task.num_train": 64,
    "task.num_validation": 8,
    "training.epochs": 40,
    "training.global_batch_size": 16,
    "evaluation.num_evaluations": 1,
    "group.num_workers": 1,
    "confirm": "null",
}


def test_the_dashboard_asks_for_metrics_that_there_are() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    targets = [target for panel in dashboard["panels"] for target in panel["targets"]]
    asked = {name for one in targets for name in re.findall(r"ray_(\w+)\{", one["expr"])}
    assert asked == {f"{PREFIX}_{name}" for name in METRICS}
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    for panel in dashboard["panels"]:
        # As Grafana's dashboard JSON model has it: each panel has a place on a grid of 24 columns.
        assert {"id", "type", "title", "gridPos", "targets", "datasource"} <= panel.keys()
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
    variables = {one["name"] for one in dashboard["templating"]["list"]}
    assert variables == {"datasource", "sweep"}
    named = set(re.findall(r"\$\{?(\w+)\}?", json.dumps(dashboard["panels"])))
    assert named <= variables


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_prometheus_finds_a_running_sweep_s_metrics(tmp_path: Path) -> None:
    with running_cluster([0, 1]) as cluster:
        words = [f"--set={field}={value}" for field, value in SMALL.items()]
        space = str(ROOT / "search_spaces" / "quickstart.yaml")
        command = [sys.executable, "-m", "droplora_sweep", "run", space, *words]
        with subprocess.Popen(
            [*command, f"--set=storage={tmp_path}", "--address", cluster.address],
            cwd=ROOT,
            env=cluster.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as driver:
            ports = cluster.ask("[node['MetricsExportPort'] for node in ray.nodes()]")
            seen: dict[str, float] = {}
            while driver.poll() is None and len(seen) < 1:
                seen = _running(dict(_samples(ports)))
                time.sleep(1.0)
            output, _ = driver.communicate()
    assert driver.returncode == 0, output
    assert seen, output
    state = 'ray_droplora_trials{{sweep="quickstart",state="{}"}}'
    assert set(STATES) <= {name.partition('state="')[2][:-2] for name in seen if "trials" in name}
    assert seen[state.format("running")] >= 1
    for name in ("queue", "unpublished_runs", "gpu_hours"):
        assert seen[f'ray_droplora_{name}{{sweep="quickstart"}}'] >= 0
    assert seen['ray_droplora_groups{sweep="quickstart",state="working"}'] == 1


def _running(samples: dict[str, float]) -> dict[str, float]:
    """Samples once a trial and a group are at work; else none."""
    works = samples.get('ray_droplora_groups{sweep="quickstart",state="working"}')
    return samples if works else {}


def _samples(ports: list[int]) -> Iterator[tuple[str, float]]:
    """Our metrics by name, with the labels that are ours."""
    for port in ports:
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        for line in text.splitlines():
            if line.startswith(f"ray_{PREFIX}_"):
                name, _, rest = line.partition("{")
                labels, _, value = rest.rpartition("}")
                found = dict(re.findall(r'(\w+)="([^"]*)"', labels))
                ours = ",".join(
                    f'{key}="{found[key]}"' for key in ("sweep", "state") if key in found
                )
                yield f"{name}{{{ours}}}", float(value)
