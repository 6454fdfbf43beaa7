"""Commands that need a model, on a cluster's worker instead of in the head's process.

The worker sees neither the sweep's storage nor where the command writes: files travel through Ray.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from safetensors.torch import load_file

from droplora_sweep.ledger.files import read_results
from droplora_sweep.ledger.reader import Ledger
from tests.cluster.test_running_cluster import SMALL
from tests.raylets import BLIND, ROOT, running_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.raylets import Cluster

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]

SPACE = "search_spaces/quickstart.yaml"
ONE_TRIAL = [
    *SMALL,
    *("--set", "search.num_trials=1"),
    *("--set", "search.queue_baselines=false"),
    *("--set", "group.num_workers=1"),
    *("--set", "search.parameters.adapter.rank={values: [4]}"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the head alone sees."""
    folder = tmp_path_factory.mktemp("outside")
    tried = subprocess.run([*BLIND, folder, "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"a tmpfs cannot be mounted here: {tried.stderr.strip()}")
    return folder


@pytest.fixture(scope="module")
def cluster(folder: Path) -> Iterator[Cluster]:
    """A head that trains nothing, and one worker's node."""
    with running_cluster([0, 1], unseen=folder) as cluster:
        yield cluster


def call(words: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "droplora_sweep", *words],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
    return done


def there(cluster: Cluster, *words: str) -> subprocess.CompletedProcess[str]:
    """A command that works on the cluster."""
    return call([*words, "--address", cluster.address], cluster.environment)


def here(*words: str) -> subprocess.CompletedProcess[str]:
    """The same command in its own process."""
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    return call(list(words), environment)


@pytest.fixture(scope="module")
def trial(cluster: Cluster, folder: Path) -> str:
    """A trial that was trained on the cluster; its sweep is `quickstart`."""
    done = there(cluster, "run", SPACE, *ONE_TRIAL, "--set", f"storage={folder / 'results'}")
    assert done.returncode == 0, done.stdout + done.stderr
    [trial] = Ledger.open(folder / "results", "quickstart").records()
    return trial.trial_id


def rows(output: Path) -> list[tuple[str, str, bool]]:
    return sorted(
        (row["example_id"], row["response"], row["correct"])
        for row in read_results(output / "results.parquet")
    )


def test_eval_scores_an_adapter_there_as_here(cluster: Cluster, trial: str, folder: Path) -> None:
    text = folder / "held_out.txt"
    text.write_text("Two and three make five, and the rest of the text is much the same. " * 30)
    adapter = folder / "results" / "quickstart" / "trials" / trial / "adapter"
    words = ["eval", SPACE, *ONE_TRIAL, "--adapter", os.path.relpath(adapter, ROOT)]
    found: dict[str, dict[str, Any]] = {}
    for name in ("here", "there"):
        output = ["--output", str(folder / name)]
        done = here(*words, *output) if name == "here" else there(cluster, *words, *output)
        assert done.returncode == 0, done.stdout + done.stderr
        found[name] = json.loads((folder / name / "scores.json").read_text())
    assert rows(folder / "there") == rows(folder / "here")
    assert found["there"]["scores"] == pytest.approx(found["here"]["scores"])
    assert found["there"]["metrics"] == pytest.approx(found["here"]["metrics"], rel=1e-4)


def test_what_a_node_does_not_see_is_one_line_of_eval(cluster: Cluster, folder: Path) -> None:
    text = folder / "held_out.txt"
    text.write_text("Two and three make five, and the rest of the text is much the same. " * 30)
    setting = ["--set", f"evaluation.held_out_text={text}"]
    done = there(cluster, "eval", SPACE, *ONE_TRIAL, *setting)
    assert done.returncode == 2, done.stdout + done.stderr
    [line] = [line for line in done.stderr.splitlines() if "held_out_text: " in line]
    assert "must be a readable text file" in line


def test_a_group_that_the_cluster_cannot_hold_is_one_line(cluster: Cluster) -> None:
    settings = ["--set", "group.num_workers=3", "--set", "group.wait_for_nodes_minutes=0"]
    done = there(cluster, "eval", SPACE, *ONE_TRIAL, *settings)
    assert done.returncode == 2, done.stdout + done.stderr
    wanted = "--set group.num_workers=3: group.num_workers: must be at most 1"
    assert sum(wanted in line for line in done.stderr.splitlines()) == 1, done.stderr


def test_compress_scores_each_rank_there_as_here(
    cluster: Cluster, trial: str, folder: Path
) -> None:
    words = ["compress", "quickstart", trial, "--storage", str(folder / "results"), "--ranks", "2"]
    tables = {}
    for name in ("here", "there"):
        output = ["--output", str(folder / f"{name}-ranks")]
        done = here(*words, *output) if name == "here" else there(cluster, *words, *output)
        assert done.returncode == 0, done.stdout + done.stderr
        tables[name] = [line for line in done.stdout.splitlines() if line.startswith("│")]
        assert (folder / f"{name}-ranks" / "rank-2" / "adapter_config.json").is_file()
    assert tables["there"] == tables["here"]
    assert len(tables["there"]) == 2


def test_export_merges_there_as_here(cluster: Cluster, trial: str, folder: Path) -> None:
    words = ["export", "quickstart", trial, "--storage", str(folder / "results")]
    merged = {}
    for name in ("here", "there"):
        output = folder / f"{name}-merged"
        command = [*words, "--format", "merged", "--output", str(output)]
        done = here(*command) if name == "here" else there(cluster, *command)
        assert done.returncode == 0, done.stdout + done.stderr
        merged[name] = load_file(output / "model.safetensors")
        assert (output / "tokenizer_config.json").is_file()
    assert merged["there"].keys() == merged["here"].keys()
    for name, weight in merged["here"].items():
        assert merged["there"][name].dtype == weight.dtype
        assert (merged["there"][name].float() - weight.float()).abs().max() < 1e-5, name
    files = {path.name for path in (folder / "here-merged").iterdir()}
    assert {path.name for path in (folder / "there-merged").iterdir()} == files


def test_export_takes_an_address_for_what_loads_a_model_alone(
    cluster: Cluster, trial: str, folder: Path
) -> None:
    words = ["export", "quickstart", trial, "--storage", str(folder / "results")]
    done = there(cluster, *words, "--output", str(folder / "plain"))
    assert done.returncode == 2
    assert "--address: must be given with --format merged" in done.stderr
    assert not (folder / "plain").exists()


def test_rerun_reproduces_a_trial_there(cluster: Cluster, trial: str, folder: Path) -> None:
    storage = ["--storage", str(folder / "results")]
    done = there(cluster, "rerun", "quickstart", trial, *storage)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{trial}: reproduced" in " ".join(done.stdout.split())
