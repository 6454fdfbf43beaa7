"""Addresses of MLflow stores, in files and in options."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from droplora_sweep.spec import tracking_uri_problem
from tests.calling import call

if TYPE_CHECKING:
    from pathlib import Path

KNOWN = (
    "must begin with one of http://, https://, databricks://, sqlite://, postgresql://, mysql://, "
    "mssql://, got "
)


@pytest.mark.parametrize(
    "uri",
    [
        "http://mlflow:5000",
        "https://mlflow.example.org/team",
        "databricks",
        "databricks://profile",
        "sqlite:////data/mlflow.db",
        "postgresql+psycopg://host/mlflow",
        "mysql+pymysql://host/mlflow",
    ],
)
def test_what_mlflow_has_a_store_for_is_taken(uri: str) -> None:
    assert tracking_uri_problem(uri) is None


@pytest.mark.parametrize(
    ("uri", "meant"),
    [
        ("localhost:5000", "; the server there is http://localhost:5000"),
        ("localhost", "; the server there is http://localhost"),
        ("10.0.0.7:5000/ml", "; the server there is http://10.0.0.7:5000/ml"),
        ("[::1]:5000", "; the server there is http://[::1]:5000"),
        ("results/mlflow.db", "; the sqlite file is sqlite:///results/mlflow.db"),
        ("/data/mlflow.db", "; the sqlite file is sqlite:////data/mlflow.db"),
        ("./mlruns", "; left out, the store is a sqlite file in the sweep's storage"),
        ("", "; left out, the store is a sqlite file in the sweep's storage"),
        ("http:mlflow", "; left out, the store is a sqlite file in the sweep's storage"),
        ("ftp://host", ""),
        ("http://", ""),
    ],
)
def test_others_are_refused_with_what_may_be_meant(uri: str, meant: str) -> None:
    assert tracking_uri_problem(uri) == f"{KNOWN}{uri}{meant}"


FILE = """\
name: s
task: {benchmarks: [builtin_choice]}
tracking:
  mlflow_uri: localhost:5000
search:
  warm_start:
    - {mlflow_experiment: first/toy, mlflow_uri: mlruns}
"""


def test_a_file_is_refused_at_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "s.yaml").write_text(FILE)
    code, _, complaint = call(capsys, "validate", tmp_path / "s.yaml")
    assert code == 2
    lines = complaint.splitlines()
    assert len(lines) == 2
    assert f"s.yaml:4: tracking.mlflow_uri: {KNOWN}localhost:5000; the server there is " in lines[0]
    assert f"s.yaml:7: search.warm_start[0].mlflow_uri: {KNOWN}mlruns; left out" in lines[1]


@pytest.mark.parametrize("verb", [("sync",), ("register",), ("compare", "other")])
def test_an_option_is_refused_before_anything_is_read(
    verb: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command, *others = verb
    options = ["--mlflow-uri", "mlflow:5000", "--storage", tmp_path]
    code, _, complaint = call(capsys, command, "s", *others, *options)
    assert code == 2
    assert complaint == (
        f"--mlflow-uri: {KNOWN}mlflow:5000; the server there is http://mlflow:5000\n"
    )
