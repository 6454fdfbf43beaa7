"""The trial that a canary tries: the one of a space that needs most memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from droplora_sweep.plan.heaviest import heaviest_trial, memory_of, memory_text
from droplora_sweep.plan.survey import survey
from droplora_sweep.spec import load_sweep_file

QUICKSTART = Path(__file__).parents[2] / "search_spaces" / "quickstart.yaml"


def found(*overrides: str) -> Any:
    return survey(load_sweep_file(QUICKSTART, overrides))


def test_it_has_the_highest_rank_and_the_largest_micro_batch() -> None:
    sizes = "search.parameters.training.micro_batch_size={values: [8, 16]}"
    trial = heaviest_trial(found(sizes))
    assert trial.adapter.rank == 16
    assert trial.adapter.alpha is not None
    assert trial.training.micro_batch_size == 16


def test_a_whole_model_outweighs_adapters() -> None:
    only = [
        *("search.parameters.adapter.rank=null", "search.parameters.adapter.alpha=null"),
        *("search.parameters.adapter.pruning_rate=null", "adapter.pruning_rate=0.0"),
        *("confirm=null", "search.parameters.adapter.method={values: [lora, full]}"),
    ]
    assert heaviest_trial(found(*only)).adapter.method == "full"


def test_without_sizes_rank_and_sequences_decide() -> None:
    unknown = replace(found(), model=None)
    assert heaviest_trial(unknown).adapter.rank == 16
    assert memory_text(unknown, heaviest_trial(unknown)) is None


def test_memory_is_named_by_part_with_what_smaller_micro_batches_need() -> None:
    here = found()
    trial = heaviest_trial(here)
    memory = memory_of(here, trial)
    assert memory is not None
    text = memory_text(here, trial)
    assert text is not None
    assert text.startswith(f"planned are {memory.training / 1e9:.2f} GB for each worker (weights ")
    for part in ("adapter", "gradients", "optimizer", "activations", "logits"):
        assert f"{part} " in text
    assert [part.split(" needs ")[0] for part in text.split("; ")[1].split(", ")] == [
        *("16", "8", "4"),
    ]
