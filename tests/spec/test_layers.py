"""A search space that extends others: what stands on top of what, and what is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from droplora_sweep.errors import InputError
from droplora_sweep.spec import Choice, NoStoppingSpec, Range, load_sweep, load_sweep_file

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def write(tmp_path: Path):
    def write_files(**files: str) -> Path:
        for name, text in files.items():
            (tmp_path / f"{name}.yaml").write_text(text)
        return tmp_path / "own.yaml"

    return write_files


def refusal(file: Path, *overrides: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        load_sweep(file, overrides)
    return [str(fault).replace(f"{file.parent}/", "") for fault in caught.value.faults]


def test_own_values_stand_on_top_and_later_files_on_earlier_ones(write) -> None:
    file = write(
        first="adapter: {rank: 4, alpha: 8}\ntraining: {epochs: 1}\nseed: 1\n",
        second="adapter: {rank: 16}\nseed: 2\n",
        own="extends: [first.yaml, second.yaml]\nname: q\nseed: 3\n",
    )

    sweep = load_sweep(file)

    assert (sweep.adapter.rank, sweep.adapter.alpha, sweep.training.epochs) == (16, 8, 1)
    assert sweep.seed == 3


def test_lists_domains_and_stopping_are_replaced_whole(write) -> None:
    file = write(
        base="search:\n  stopping: {kind: asha, reduction_factor: 2}\n  parameters:\n"
        "    adapter.rank: {min: 1, max: 8}\n    adapter.pruning_rate: {values: [0.0, 0.5]}\n"
        "task: {benchmarks: [builtin_code, builtin_math]}\n",
        own="extends: base.yaml\nname: q\ntask: {benchmarks: [builtin_choice]}\nsearch:\n"
        "  stopping: {kind: none}\n  parameters:\n    adapter.rank: {values: [2, 4]}\n",
    )

    sweep = load_sweep(file)

    assert sweep.task.benchmarks == ("builtin_choice",)
    assert sweep.search.stopping == NoStoppingSpec()
    assert sweep.search.parameters == {
        "adapter.rank": Choice(values=(2, 4)),
        "adapter.pruning_rate": Choice(values=(0.0, 0.5)),
    }


def test_null_takes_a_field_out_of_the_search(write) -> None:
    file = write(
        base="search: {parameters: {adapter.rank: {min: 1, max: 8}, seed: {min: 1, max: 3}}}\n",
        own="extends: base.yaml\nname: q\nsearch: {parameters: {seed: null}}\n",
    )

    assert load_sweep(file).search.parameters == {"adapter.rank": Range(min=1, max=8)}


def test_an_override_chooses_other_files(write) -> None:
    file = write(
        large="adapter: {rank: 64}\n",
        small="adapter: {rank: 2, alpha: 2}\n",
        own="extends: large.yaml\nname: q\nadapter: {alpha: 4}\n",
    )

    adapter = load_sweep(file, ["extends=[small.yaml]"]).adapter

    assert (adapter.rank, adapter.alpha) == (2, 4)
    assert load_sweep(file, ["extends=null"]).adapter.rank == 32


def test_a_fault_is_at_the_line_of_the_file_that_has_it(write) -> None:
    file = write(
        base="adapter:\n  rank: 0\n  alpha: 8\n  dropout: 2\n",
        own="extends: base.yaml\nname: q\nadapter:\n  dropout: 3\n",
    )

    assert refusal(file) == [
        "base.yaml:2: adapter.rank: must be at least 1, got 0",
        "own.yaml:4: adapter.dropout: must be in [0, 1), got 3",
    ]


@pytest.mark.parametrize(
    ("own", "fault"),
    [
        ("extends: 3", "own.yaml:1: extends: must be a file name or a list of them, got 3"),
        ("extends: [1]", "own.yaml:1: extends: must be a file name or a list of them, got [1]"),
        ("extends: gone.yaml", "own.yaml:1: extends: gone.yaml no such file"),
        (
            "name: q\nextends: [chained.yaml]",
            "chained.yaml:2: extends: must be left out of a file that others extend",
        ),
        ("extends: text.yaml", "text.yaml:1: must be a mapping of fields, got a single value"),
        ("extends: broken.yaml", "broken.yaml:2: is not valid YAML: "),
    ],
)
def test_what_cannot_be_extended(own: str, fault: str, write) -> None:
    file = write(
        chained="seed: 1\nextends: text.yaml\n", text="hello\n", broken="a: [\n", own=f"{own}\n"
    )

    [found] = refusal(file)

    assert found.startswith(fault)


def test_an_override_that_names_no_file(write) -> None:
    file = write(own="name: q\n")

    assert refusal(file, "extends=gone.yaml") == [
        "--set extends=gone.yaml: extends: gone.yaml no such file"
    ]


def test_in_one_piece_it_is_the_same_sweep(write, tmp_path: Path) -> None:
    """As a cluster's driver gets it, without any of the files."""
    file = write(
        base="adapter: {rank: 4}\n",
        own='extends: base.yaml\nname: "0o17"\nsearch: {parameters: {seed: {values: [1, 2]}}}\n',
    )
    whole = load_sweep_file(file, ["training.learning_rate=1e-4"])
    alone = tmp_path / "alone" / "own.yaml"
    alone.parent.mkdir()
    alone.write_text(whole.text)

    assert load_sweep(alone) == whole.sweep
    assert "extends" not in json.loads(whole.text)
