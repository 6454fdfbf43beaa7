"""Answers that no response could match are refused, with the protocol that can read them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from droplora_sweep.cli import main
from droplora_sweep.errors import InputError
from droplora_sweep.spec import TaskSpec
from droplora_sweep.tasks.answers import check_golds
from droplora_sweep.tasks.loading import load_task

CASES = Path(os.environ.get("DROPLORA_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
CASES = CASES.parent / "cases"


def said(tmp_path: Path, protocol: Any, golds: list[str], scoring: str, **own: Any) -> list[str]:
    """Return the refusal of a benchmark of one's own with these answers."""
    records = [
        {"instruction": f"{number}?", "input": "", "output": gold, "answer": gold}
        for number, gold in enumerate(golds)
    ]
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(records))
    mine = {"data": str(file), "split": "validation", "scoring": scoring, **own}
    benchmarks = {"builtin_choice": None, "mine": mine}
    spec = {"benchmarks": benchmarks, "num_train": 1, "num_validation": len(golds)}
    try:
        task = load_task(TaskSpec.model_validate(spec))
    except InputError as error:
        return str(error).replace(str(tmp_path), "").splitlines()
    return [f"{one.field}: {one.problem}" for one in check_golds(task, protocol)]


@pytest.mark.parametrize("gold", ["1e3", "1_000", "1,000", "0x10", "nan", "one"])
@pytest.mark.parametrize("protocol", ["paper", "strict"])
def test_what_is_no_number_in_digits_is_refused(tmp_path: Path, gold: str, protocol: Any) -> None:
    assert said(tmp_path, protocol, ["5", gold], "number") == [
        "task.benchmarks.mine.data: /mine.json: record 2: answer: must be a number in digits, such "
        f"as 1000 or 6.5, since responses are read so, got {gold!r}"
    ]


def test_decimals_need_protocol_strict(tmp_path: Path) -> None:
    golds = ["5", "72.0", "-3", "6.5", ".25"]
    assert said(tmp_path, "paper", golds, "number") == [
        "evaluation.protocol: must be strict for mine, got paper: with paper no response can match "
        "2 of its 5 different answers, the first '6.5'"
    ]
    assert said(tmp_path, "strict", golds, "number") == []
    assert said(tmp_path, "paper", golds[:3], "number") == []


def test_latex_that_is_cut_needs_protocol_strict(tmp_path: Path) -> None:
    assert said(tmp_path, "paper", [r"\frac{1}{2}", "5.", "7"], "math") == [
        "evaluation.protocol: must be strict for mine, got paper: with paper no response can match "
        "1 of its 3 different answers, the first '5.'"
    ]
    assert said(tmp_path, "paper", [r"\frac{1}{2}", r"\text{east}"], "math") == []


def test_outer_spaces_match_nothing(tmp_path: Path) -> None:
    assert said(tmp_path, "paper", ["Paris", " Rome"], "exact") == [
        "task.benchmarks.mine: must have answers as a response is read: with paper no response can "
        "match 1 of its 2 different answers, the first ' Rome'"
    ]


def test_an_option_with_a_full_stop_is_read_by_both(tmp_path: Path) -> None:
    options = {"options": ["a.m.", "p.m."]}
    assert said(tmp_path, "paper", ["a.m.", "p.m."], "choice", **options) == []
    assert said(tmp_path, "strict", ["a.m.", "p.m."], "choice", **options) == []


@pytest.mark.parametrize(
    ("case", "code", "words"),
    [
        ("d14_num_underscore", 2, "must be a number in digits"),
        ("d16_num_exp", 2, "must be a number in digits"),
        ("d60_option_prefix", 0, "valid"),
        ("d30_mbpp_setup_null", 0, "valid"),
        ("d33_mbpp_sanitized_own", 0, "valid"),
    ],
)
def test_the_cases_come_out_right(
    case: str,
    code: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = CASES / case
    if not folder.is_dir():
        pytest.skip(f"{folder} does not exist; the cases lie beside DROPLORA_TEST_DATA")
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit) as ended:
        main(["validate", "s.yaml"])
    captured = capsys.readouterr()
    assert (ended.value.code or 0) == code, captured
    assert words in captured.out + captured.err
