"""The held-out text: what is refused, and what its perplexities come to."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING

import pytest

from droplora_sweep.errors import InputError
from droplora_sweep.evaluation.held_out import forgetting_metrics, read_held_out_text

if TYPE_CHECKING:
    from pathlib import Path

TEXT = "The old mill by the river had not turned for years. " * 25


def test_a_text_is_read_with_its_digest(tmp_path: Path) -> None:
    file = tmp_path / "held_out.txt"
    file.write_text(TEXT)
    held_out = read_held_out_text(str(file))
    assert held_out.text == TEXT.strip()
    assert held_out.digest == hashlib.sha256(TEXT.encode()).hexdigest()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "must be a readable text file, got {}: No such file or directory"),
        (b"", "must hold at least 1,000 characters, got 0: {}"),
        (b" \n" * 2000, "must hold at least 1,000 characters, got 0: {}"),
        (b"too short", "must hold at least 1,000 characters, got 9: {}"),
        (b"\xff\xfe" + TEXT.encode(), "must be UTF-8 text, got {}: invalid start byte"),
    ],
    ids=["missing", "empty", "white space", "short", "not UTF-8"],
)
def test_what_is_no_held_out_text_is_one_line(
    tmp_path: Path, content: bytes | None, problem: str
) -> None:
    file = tmp_path / "held_out.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_held_out_text(str(file))
    assert str(caught.value) == f"evaluation.held_out_text: {problem.format(file)}"


def test_a_folder_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"must be a readable text file, got .*: Is a directory"):
        read_held_out_text(str(tmp_path))


def test_forgetting_is_a_ratio() -> None:
    assert forgetting_metrics(4.0, 5.0) == {
        "perplexity/before": 4.0,
        "perplexity/after": 5.0,
        "perplexity/ratio": 1.25,
    }
    assert forgetting_metrics(4.0, math.inf)["perplexity/ratio"] == math.inf
    assert math.isnan(forgetting_metrics(math.inf, math.inf)["perplexity/ratio"])
