"""One real sweep that searches on a quarter of the data and confirms on all of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.numpy import load_file
from transformers import AutoConfig, AutoTokenizer, LlamaForCausalLM

from droplora_sweep.adapters.export import WEIGHTS_FILE
from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.models.resolving import BUILTIN_FOLDER
from droplora_sweep.records.layout import MODEL_CARD, SUMMARY_TEXT
from droplora_sweep.records.trial import SweepOutcome, TrialState
from tests.faults.oracle import problems
from tests.faults.sweeping import NAME, ONE_GROUP, TINY, command, start, to_end

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(900)]

NUM_SEARCH = 2
SETTINGS = {
    **TINY,
    **ONE_GROUP,
    "search.num_trials": NUM_SEARCH,
    "search.fidelity": "{task.num_train: 0.25, training.epochs: 2}",
    "task.num_train": 64,
    "training.epochs": 3,
    "training.global_batch_size": 16,
    "training.micro_batch_size": 8,
    "task.num_confirmation": 8,
    "task.num_test": 8,
    "confirm": "{rates: 1, seeds: 3}",
}
MARK = "two-fidelities"
BATCH = 16
LESS = "25% of the training examples, 2 epochs of 3"


def test_search_on_less_and_confirm_on_all(tmp_path: Path) -> None:
    code, output = to_end(start(command(tmp_path, **SETTINGS), MARK))

    assert code == 0, output
    ledger = Ledger.open(tmp_path, NAME)
    assert ledger.record.outcome is SweepOutcome.COMPLETE
    searched, runs = ledger.search_records(), ledger.confirm_records()
    assert (len(searched), len(runs)) == (NUM_SEARCH, 6)
    assert problems(tmp_path, NAME, NUM_SEARCH + 6) == []
    # The steps that were taken: 16 examples twice, and 64 examples three times.
    assert {trial.evaluations[-1].step for trial in searched} == {2 * 16 // BATCH}
    assert {trial.evaluations[-1].step for trial in runs} == {3 * 64 // BATCH}
    assert all(trial.state is TrialState.COMPLETE for trial in (*searched, *runs))
    for trial in searched:
        assert len(ledger.scores(trial.trial_id)["builtin_choice"]) == 8  # type: ignore[index]
    assert LESS in (ledger.summary_directory / SUMMARY_TEXT).read_text()

    trial = searched[0].trial_id
    code, output = to_end(start(command(tmp_path, "rerun", NAME, trial), MARK))
    assert code == 0, output
    assert f"trains again, on 1 workers, at the search's fidelity ({LESS})" in output
    assert "reproduced to the byte" in output

    folder = tmp_path / "exported"
    words = ("export", NAME, trial, "--output", str(folder))
    code, output = to_end(start(command(tmp_path, *words), MARK))
    assert code == 0, output
    assert f"note: {trial} is of the search, which trained on less ({LESS})" in output
    assert LESS in (folder / MODEL_CARD).read_text()

    changed = {**SETTINGS, "search.fidelity": "{task.num_train: 0.5}"}
    code, output = to_end(start(command(tmp_path, **changed), MARK))
    assert code == 2
    assert "search.fidelity.task.num_train: was 0.25, now 0.5" in output

    code, output = to_end(start(command(tmp_path, "best", NAME, "--json"), MARK))
    assert code == 0, output
    assert json.loads(output)["sweep"] == NAME


def test_search_a_smaller_model_and_confirm_on_the_sweeps_own(tmp_path: Path) -> None:
    small = _smaller_model(tmp_path / "small")
    settings = {**SETTINGS, "search.fidelity": f"{{model.path: {small}}}", "task.num_train": 32}
    code, output = to_end(start(command(tmp_path, **settings), MARK))

    assert code == 0, output
    ledger = Ledger.open(tmp_path, NAME)
    assert ledger.record.outcome is SweepOutcome.COMPLETE
    searched, runs = ledger.search_records(), ledger.confirm_records()
    assert (len(searched), len(runs)) == (NUM_SEARCH, 6)
    assert {trial.spec["model"]["path"] for trial in searched} == {str(small)}
    assert {trial.spec["model"]["path"] for trial in runs} == {"builtin"}
    # Adapters have the shapes of the model that they were trained on.
    widths = {
        trial.trial_id: _width(trial.adapter / WEIGHTS_FILE)
        for trial in (*searched, *runs)
        if trial.adapter is not None
    }
    assert {widths[trial.trial_id] for trial in searched} == {32}
    assert not {widths[trial.trial_id] for trial in runs} & {32}
    said = (ledger.summary_directory / SUMMARY_TEXT).read_text()
    assert f"trained on less (the model {small})" in said
    # The untrained model of each split is the one that was trained there.
    untrained = {split: one.untrained for split, one in ledger.record.references.items()}
    assert set(untrained) >= {"validation", "confirmation"}

    again = command(tmp_path, "rerun", NAME, searched[0].trial_id)
    code, output = to_end(start(again, MARK))
    assert code == 0, output
    assert "reproduced to the byte" in output


def _smaller_model(folder: Path) -> Path:
    """A random model of the built-in one's family, with its tokenizer."""
    torch.manual_seed(7)
    config = AutoConfig.from_pretrained(BUILTIN_FOLDER)
    config.update({"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1})
    config.update({"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16})
    LlamaForCausalLM(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(BUILTIN_FOLDER).save_pretrained(folder)
    return folder


def _width(weights: Path) -> int:
    """Inputs of the query projection."""
    tensors = load_file(weights)
    return next(one.shape[1] for name, one in tensors.items() if "q_proj.lora_A" in name)
