"""A file that is no YAML mapping of plain values is refused at its line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from droplora_sweep.errors import InputError
from droplora_sweep.spec import load_sweep

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Refusal = Callable[..., list[str]]

YAML_FAULTS = {
    "empty": ("", "s.yaml:1: must be a mapping of fields, got nothing"),
    "only_comments": ("# nothing\n", "s.yaml:1: must be a mapping of fields, got nothing"),
    "list": ("- name: q\n", "s.yaml:1: must be a mapping of fields, got a list"),
    "scalar": ("quickstart\n", "s.yaml:1: must be a mapping of fields, got a single value"),
    "two_documents": (
        "name: q\n---\nname: r\n",
        "s.yaml:2: must be a single document, found another one",
    ),
    "duplicate_key": (
        "name: q\nadapter:\n  rank: 8\n  rank: 16\n",
        "s.yaml:4: adapter.rank: duplicate key, first given at s.yaml:3",
    ),
    "python_tag": (
        "name: !!python/object/apply:os.system ['true']\n",
        "s.yaml:1: name: YAML tags are refused, got !!python/object/apply:os.system",
    ),
    "python_tag_at_top": (
        "!!python/object:builtins.dict {name: q}\n",
        "s.yaml:1: YAML tags are refused, got !!python/object:builtins.dict",
    ),
    "custom_tag": ("name: !env NAME\n", "s.yaml:1: name: YAML tags are refused, got !env"),
    "standard_tag": (
        'name: q\nseed: !!int "8"\n',
        "s.yaml:2: seed: YAML tags are refused, got !!int",
    ),
    "tag_on_key": ("name: q\n!!str seed: 1\n", "s.yaml:2: YAML tags are refused, got !!str"),
    "mapping_as_key": ("name: q\n{a: b}: 1\n", "s.yaml:2: keys must be text"),
    "unbalanced": (
        "name: q\ntask:\n  benchmarks: [a\n",
        "s.yaml:4: is not valid YAML: while parsing a flow sequence "
        "expected ',' or ']', but got '<stream end>'",
    ),
    "tab": (
        "name: q\nadapter:\n\trank: 8\n",
        "s.yaml:3: is not valid YAML: while scanning for the next token "
        r"found character '\t' that cannot start any token",
    ),
    "control_character": (
        "name: q\nstorage: a\x07b\n",
        "s.yaml:2: must not contain the character U+0007",
    ),
    "not_utf8": (b"name: q\nstorage: \xff\n", "s.yaml: must be UTF-8, got the byte 0xff"),
    "utf16": ("name: q\n".encode("utf-16"), "s.yaml: must be UTF-8, got the byte 0xff"),
    "too_large": ("#" * 100_001, "s.yaml: must be at most 100,000 bytes long"),
    "too_deep": (
        "name: q\nstorage: " + "[" * 500,
        "s.yaml:2: must not be nested more than 20 deep",
    ),
    "nan": (
        "name: q\nadapter:\n  dropout: .nan\n",
        "s.yaml:3: adapter.dropout: must be a finite number, got .nan",
    ),
    "infinity": (
        "name: q\nadapter:\n  alpha: -.inf\n",
        "s.yaml:3: adapter.alpha: must be a finite number, got -.inf",
    ),
    "overflow": (
        "name: q\nadapter:\n  alpha: 1e999\n",
        "s.yaml:3: adapter.alpha: must be a finite number, got 1e999",
    ),
    "huge_integer": (
        f"name: q\nseed: {'9' * 5000}\n",
        "s.yaml:2: seed: must have at most 18 digits, got 5000",
    ),
}


@pytest.mark.parametrize(("text", "line"), YAML_FAULTS.values(), ids=YAML_FAULTS.keys())
def test_one_fault_is_one_line(refusal: Refusal, text: str | bytes, line: str) -> None:
    assert refusal(text) == [line]


def test_anchors_and_aliases_are_refused_before_they_expand(refusal: Refusal) -> None:
    bomb = "name: q\na: &a [x, x]\n" + "".join(
        f"{after}: &{after} [{', '.join([f'*{before}'] * 9)}]\n"
        for before, after in zip("abcdefgh", "bcdefghi", strict=True)
    )

    lines = refusal(bomb)

    assert lines[0] == "s.yaml:2: a: anchors and aliases are refused, got &a"
    assert len(lines) == 9, "an anchored value is not read, so its own aliases are not reported"


def test_a_file_full_of_faults_is_refused_in_seconds(refusal: Refusal) -> None:
    text = "name: q\n" + "".join(f"k{index}: 1\n" for index in range(2_000))

    lines = refusal(text)

    assert len(lines) == 2_000
    assert lines[-1].startswith("s.yaml:2001: k1999: unknown key")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError) as missing:
        load_sweep(tmp_path / "missing.yaml")
    with pytest.raises(InputError) as folder:
        load_sweep(tmp_path)

    assert str(missing.value) == f"{tmp_path}/missing.yaml: no such file"
    assert str(folder.value) == f"{tmp_path}: is a folder, not a file"
