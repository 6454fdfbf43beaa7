"""Fifty files that are no sweep: each is one clear line with its place, and nothing is begun."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.calling import call

from .table import recorded

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.faults

KNOWN_FIELDS = (
    "method, rank, alpha, pruning_rate, module_pruning_rates, pruning_schedule, mask, rescale, "
    "dropout, target_modules, layers, module_ranks, module_alphas, modules_to_save, lora_drop"
)
NAME_RULE = (
    "must be 1 to 64 letters, digits, `.`, `_` or `-`, beginning with a letter or digit, got"
)
LAYER = (
    "the smallest dimension of a layer with an adapter: the weight of "
    "model.layers.0.mlp.down_proj is 128 x 384"
)
BOMB = "name: q\na: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{after}: &{after} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)

MALFORMED: dict[str, tuple[str | bytes, str]] = {
    # No mapping, or more than one.
    "empty": ("", ":1: must be a mapping of fields, got nothing"),
    "only comments": ("# nothing\n", ":1: must be a mapping of fields, got nothing"),
    "null": ("null\n", ":1: must be a mapping of fields, got nothing"),
    "list at top": ("- name: q\n- seed: 1\n", ":1: must be a mapping of fields, got a list"),
    "text at top": ("quickstart\n", ":1: must be a mapping of fields, got a single value"),
    "number at top": ("3\n", ":1: must be a mapping of fields, got a single value"),
    "two documents": (
        "name: q\n---\nname: r\n",
        ":2: must be a single document, found another one",
    ),
    # No YAML.
    "tab": (
        "name: q\nadapter:\n\trank: 8\n",
        ":3: is not valid YAML: while scanning for the next token "
        r"found character '\t' that cannot start any token",
    ),
    "unclosed list": (
        "name: q\ntask: {benchmarks: [a\n",
        ":3: is not valid YAML: while parsing a flow sequence "
        "expected ',' or ']', but got '<stream end>'",
    ),
    "unclosed text": (
        'name: q\nstorage: "a\n',
        ":3: is not valid YAML: while scanning a quoted scalar found unexpected end of stream",
    ),
    "indented": (
        "name: q\n  seed: 1\n",
        ":2: is not valid YAML: mapping values are not allowed here",
    ),
    "colon in text": (
        "name: q: r\n",
        ":1: is not valid YAML: mapping values are not allowed here",
    ),
    "not UTF-8": (b"name: q\nstorage: \xff\xfe\n", ": must be UTF-8, got the byte 0xff"),
    "UTF-16": ("name: q\n".encode("utf-16"), ": must be UTF-8, got the byte 0xff"),
    "null byte": (b"name: q\nstorage: a\x00b\n", ":2: must not contain the character U+0000"),
    "escape code": ("name: q\nstorage: a\x1b[31mb\n", ":2: must not contain the character U+001B"),
    # YAML that would run code, or grow without bound.
    "python object": (
        "name: !!python/object/apply:os.system ['touch pwned']\n",
        ":1: name: YAML tags are refused, got !!python/object/apply:os.system",
    ),
    "binary tag": (
        "name: q\nstorage: !!binary aGk=\n",
        ":2: storage: YAML tags are refused, got !!binary",
    ),
    "include tag": (
        "name: q\nadapter: !include /etc/passwd\n",
        ":2: adapter: YAML tags are refused, got !include",
    ),
    "anchor": ("name: &q q\n", ":1: name: anchors and aliases are refused, got &q"),
    "alias": ("name: q\nstorage: *a\n", ":2: storage: anchors and aliases are refused, got *a"),
    "merge key": (
        "name: q\nadapter: {<<: {rank: 8}}\n",
        f":2: adapter.<<: unknown key, known ones are {KNOWN_FIELDS}",
    ),
    "bomb": (BOMB, ":2: a: anchors and aliases are refused, got &a"),
    "deep list": ("name: q\nstorage: " + "[" * 1000, ":2: must not be nested more than 20 deep"),
    "deep mapping": (
        "name: q\nadapter: " + "{a: " * 1000 + "}" * 1000 + "\n",
        ":2: must not be nested more than 20 deep",
    ),
    "huge file": ("name: q\n" + "#" * 200_000, ": must be at most 100,000 bytes long"),
    # Keys.
    "no name": ("seed: 1\n", ":1: name: must be given"),
    "duplicate key": (
        "name: q\nseed: 1\nseed: 2\n",
        ":3: seed: duplicate key, first given at FILE:2",
    ),
    "duplicate nested key": (
        "name: q\nadapter: {rank: 8, rank: 16}\n",
        ":2: adapter.rank: duplicate key, first given at FILE:2",
    ),
    "mapping as key": ("name: q\n? {a: b}\n: 1\n", ":2: keys must be text"),
    "unknown key": (
        "name: q\nadapter: {rnak: 8}\n",
        ":2: adapter.rnak: unknown key, did you mean `rank`?",
    ),
    "unknown section": (
        "name: q\nadaptor: {rank: 8}\n",
        ":2: adaptor: unknown key, did you mean `adapter`?",
    ),
    "unknown parameter": (
        "name: q\nsearch: {parameters: {adapter.rnak: {values: [1]}}}\n",
        ":2: search.parameters.adapter.rnak: is not a field of a trial, "
        "did you mean `adapter.rank`?",
    ),
    # Types.
    "null name": ("name: null\n", ":1: name: must be text, got null"),
    "number for text": ("name: 3\n", ":1: name: must be text, got 3"),
    "text for number": (
        "name: q\nadapter: {rank: eight}\n",
        ":2: adapter.rank: must be an integer, got 'eight'",
    ),
    "yes for number": (
        "name: q\nadapter: {rank: yes}\n",
        ":2: adapter.rank: must be an integer, got 'yes'",
    ),
    "true for number": (
        "name: q\nadapter: {rank: true}\n",
        ":2: adapter.rank: must be an integer, got true",
    ),
    "date for number": (
        "name: q\nseed: 2026-01-01\n",
        ":2: seed: must be an integer, got '2026-01-01'",
    ),
    "list for section": (
        "name: q\nadapter: [rank]\n",
        ":2: adapter: must be a mapping, got ['rank']",
    ),
    "text for section": (
        "name: q\nsearch: fast\n",
        ":2: search: must be a mapping, got 'fast'",
    ),
    "null for section": ("name: q\nadapter:\n", ":2: adapter: must be a mapping, got null"),
    # Values.
    "terminal codes": ('name: "q\\e[31m"\n', rf":1: name: {NAME_RULE} 'q\x1b[31m'"),
    "integer of 5000 digits": (
        f"name: q\nseed: {'9' * 5000}\n",
        ":2: seed: must have at most 18 digits, got 5000",
    ),
    "hexadecimal of 5000 digits": (
        f"name: q\nseed: 0x{'f' * 5000}\n",
        ":2: seed: must have at most 18 digits, got 5002",
    ),
    "large integer": (
        f"name: q\nseed: {2**59}\n",
        f":2: seed: must be in [0, 2147483648), got {2**59}",
    ),
    "rank beyond the model": (
        f"name: q\nadapter: {{rank: {10**17}}}\n",
        f":2: adapter.rank: must be at most 128, {LAYER}, got {10**17}",
    ),
    "negative": (
        "name: q\nsearch: {num_trials: -1}\n",
        ":2: search.num_trials: must be at least 1, got -1",
    ),
    "NaN": (
        "name: q\ntraining: {learning_rate: .nan}\n",
        ":2: training.learning_rate: must be a finite number, got .nan",
    ),
    "infinity": (
        "name: q\nadapter: {alpha: -.inf}\n",
        ":2: adapter.alpha: must be a finite number, got -.inf",
    ),
    "number that overflows": (
        "name: q\nadapter: {alpha: 1e400}\n",
        ":2: adapter.alpha: must be a finite number, got 1e400",
    ),
    "no values": (
        "name: q\nsearch: {parameters: {adapter.rank: {values: []}}}\n",
        ":2: search.parameters.adapter.rank.values: must not be empty, got []",
    ),
    "reversed range": (
        "name: q\nsearch: {parameters: {adapter.dropout: {min: 0.5, max: 0.1}}}\n",
        ":2: search.parameters.adapter.dropout: `min <= max` must hold, got min=0.5, max=0.1",
    ),
}
FURTHER_LINES = {"bomb": 8}
"""An anchored value is not read: one line per anchor, where all else is one line."""


def test_each_malformed_file_is_refused_in_one_line_and_nothing_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "s.yaml"
    assert len(MALFORMED) >= 40
    wrong = {}
    with recorded("malformed YAML files") as row:
        for name, (text, expected) in MALFORMED.items():
            file.write_bytes(text.encode() if isinstance(text, str) else text)
            code, output, complaint = call(capsys, "run", "s.yaml")
            row.injected += 1
            first, *others = complaint.splitlines()
            line = f"s.yaml{expected.replace('FILE', 's.yaml')}"
            as_told = (code, output, first, len(others))
            if as_told != (2, "", line, FURTHER_LINES.get(name, 0)):
                wrong[name] = as_told
        row.result = "one clear line each" if not wrong else f"wrong: {', '.join(wrong)}"
    assert wrong == {}
    assert list(tmp_path.iterdir()) == [file], "nothing was begun"
