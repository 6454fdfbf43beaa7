"""`report`, `compare`, and what `sync` does with a report, on ledgers that a driver wrote."""

import json
import subprocess
import sys

import pytest

from droplora_sweep.cli import main
from droplora_sweep.present.report.page import try_to_write
from droplora_sweep.storage.mirror import local_storage

from .conftest import write_sweep


def run(*arguments):
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    return end.value.code


def test_report_says_where_the_page_is(storage, capsys):
    assert run("report", "demo", "--storage", str(storage)) == 0
    page = storage / "demo" / "summary" / "report.html"
    assert capsys.readouterr().out == f"demo: {page}\n"
    assert "Try a pruning rate of 0.2" in page.read_text()
    assert (page.parent / "score_against_rate.png").is_file()
    assert json.loads((page.parent / "report.json").read_text())["name"] == "demo"


@pytest.mark.slow
def test_a_sweep_in_an_object_store_is_reported_on_here(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    url = f"file://{tmp_path}/elsewhere"
    write_sweep(local_storage(url))
    assert run("report", "demo", "--storage", url) == 0
    assert capsys.readouterr().out == "demo: demo-report/report.html\n"
    page = folder / "demo-report" / "report.html"
    assert "Try a pruning rate of 0.2" in page.read_text()
    assert run("report", "demo", "--storage", url, "--output", str(tmp_path / "x")) == 0
    assert (tmp_path / "x" / "report.html").read_bytes() == page.read_bytes()


def test_a_sweep_that_is_not_there_is_named(storage, capsys):
    assert run("report", "damo", "--storage", str(storage)) == 1
    assert capsys.readouterr().err.endswith(
        f"got 'damo'; it has demo\nnext: droplora-sweep status demo --storage {storage}\n"
    )


@pytest.mark.slow
def test_a_report_needs_neither_torch_nor_ray_nor_mlflow(storage):
    script = """
import sys
from pathlib import Path
from droplora_sweep.present.contents.facts import gather_facts
from droplora_sweep.present.report.page import make_report
from droplora_sweep.present.report.page import write_report
from droplora_sweep.ledger.reader import Ledger

ledger = Ledger.open(Path(sys.argv[1]), "demo")
write_report(make_report(gather_facts(ledger.record, ledger.scores)), ledger.summary_directory)
print([name for name in ("torch", "transformers", "ray", "mlflow") if name in sys.modules])
"""
    command = [sys.executable, "-c", script, str(storage)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.slow
def test_sync_publishes_a_new_report_with_the_sweep(storage, capsys):
    from mlflow import MlflowClient

    from droplora_sweep.mlflow_view.ui import mlflow_uri

    for _ in range(2):
        assert run("sync", "demo", "--storage", str(storage)) == 0
        assert "without a new report" not in capsys.readouterr().out
    client = MlflowClient(mlflow_uri(storage))
    [experiment] = [one for one in client.search_experiments() if one.name == "droplora/toy"]
    parents = [
        one
        for one in client.search_runs([experiment.experiment_id])
        if "mlflow.parentRunId" not in one.data.tags
    ]
    assert len(parents) == 1
    found = [one.path for one in client.list_artifacts(parents[0].info.run_id, "summary")]
    assert {"summary/report.html", "summary/report.json"} <= set(found)
    assert "summary/score_against_rate.png" in found


def test_a_report_that_cannot_be_made_is_told_in_one_line_without_secrets(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_" + "a" * 30)

    def broken():
        raise RuntimeError(f"no font for hf_{'a' * 30}\nand more")

    assert try_to_write(broken, tmp_path) == "RuntimeError: no font for [redacted]"
    assert list(tmp_path.iterdir()) == []


def test_compare_says_how_each_pair_was_compared(storage, capsys):
    write_sweep(storage, "other", num_correct=(7, 9))
    assert run("compare", "demo", "other", "--storage", str(storage)) == 0
    printed = capsys.readouterr()
    assert "p = 0.2: 70.0 %" in printed.out
    assert "p = 0.2: 90.0 %" in printed.out
    assert "+20.0 points [" in printed.out
    assert "best trials paired on 10 examples, one seed each" in printed.out
    assert printed.err == (
        f"no link to MLflow's comparison: {storage} has no mlflow.db: publish the sweeps with "
        "`sync`\n"
    )
    assert not (storage / "mlflow.db").exists()


def test_compare_takes_sweeps_of_other_storages(storage, tmp_path, capsys):
    write_sweep(tmp_path / "elsewhere", "demo")
    other = str(tmp_path / "elsewhere" / "demo")
    assert run("compare", "demo", other, "--storage", str(storage)) == 0
    printed = capsys.readouterr()
    assert "+0.0 points [" in printed.out
    assert printed.err == (
        "no link to MLflow's comparison: the sweeps are in different MLflow stores; `sync` them to "
        "one server, and give it as --mlflow-uri\n"
    )


@pytest.mark.parametrize("names", [["demo"], ["demo", "demo"]])
def test_compare_needs_two_sweeps(storage, names, capsys):
    assert run("compare", *names, "--storage", str(storage)) == 2
    assert capsys.readouterr().err == (
        f"NAME...: must be two different sweeps or more, got {', '.join(names)}\n"
        "next: droplora-sweep compare --help\n"
    )


def test_compare_names_a_sweep_that_is_not_there(storage, tmp_path, capsys):
    assert run("compare", "demo", f"{tmp_path}/nowhere/x", "--storage", str(storage)) == 1
    assert capsys.readouterr().err == (
        f"name: must be a sweep in {tmp_path}/nowhere, got 'x'; it has none\n"
        "next: droplora-sweep demo\n"
    )
    secret = ["--mlflow-uri", "http://ann:tulip@host"]
    assert run("compare", "demo", "other", "--storage", str(storage), *secret) == 2
    assert "tulip" not in capsys.readouterr().err
