"""Small inputs written after public reports about data files, each with its right outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.calling import without_advice

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Call = Callable[..., tuple[int, str, str]]

SCORED_ELSEWHERE = {"d14_num_underscore", "d16_num_exp", "d60_option_prefix"}
"""Cases of gold answers, which ``tests/scorers/test_golds.py`` runs."""

TRAIN = "s.yaml:3: task.data: boolq/train.json: record "

READ = [
    "d02_jsonl_named_json",
    "d06_no_input",
    "d07_null_input",
    "d08_pandas_columns",
    "d09_wrapped_in_data",
    "d10_csv",
    "d30_mbpp_setup_null",
    "d33_mbpp_sanitized_own",
    "d40_sharegpt_system",
    "d41_openai_messages",
    "d42_alpaca_no_answer",
]
NAMED = {
    "d01_lone_surrogate": (
        "4: instruction: must be text that UTF-8 can hold, got half a character, \\ud83d"
    ),
    "d03_huge_integer": "1: hash: must have at most 4,300 digits, got 5,000",
    "d04_deep_nesting": "1: must be nested at most 100 levels deep, got more",
}


def test_every_case_of_data_is_run(case_files: Path) -> None:
    cases = {folder.name for folder in case_files.iterdir() if folder.name.startswith("d")}
    assert cases == {*READ, *NAMED, *SCORED_ELSEWHERE}


@pytest.mark.parametrize("case", READ)
def test_a_file_that_is_read(
    case_files: Path, case: str, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(case_files / case)
    code, output, complaints = call("validate", "s.yaml")
    lines = without_advice(output).splitlines()
    # The cases are smaller than what is published, on purpose.
    said = [line for line in lines if not line.endswith(" are published")]
    assert (code, said, complaints) == (0, ["s.yaml: valid"], "")


@pytest.mark.parametrize(("case", "problem"), NAMED.items(), ids=NAMED.keys())
def test_a_record_that_is_named_or_left_out(
    case_files: Path, case: str, problem: str, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(case_files / case)
    assert call("validate", "s.yaml") == (2, "", f"{TRAIN}{problem}\n")
    assert call("validate", "s.yaml", "--set", "task.on_bad_record=skip")[0] == 0
