"""One real sweep that searches what is adapted, run again, exported and merged."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.models.resolving import BUILTIN_FOLDER
from droplora_sweep.records.trial import SweepOutcome
from tests.faults.sweeping import NAME, ONE_GROUP, TINY, command, start, to_end

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(900)]

TARGETS = ["all-linear", "model.layers.*q_proj", ["v_proj", "down_proj"]]
SETTINGS = {
    **TINY,
    **ONE_GROUP,
    "search.num_trials": len(TARGETS),
    "search.sampler": "grid",
    **{
        f"search.parameters.{name}": "null"
        for name in (
            *("adapter.rank", "adapter.alpha", "adapter.pruning_rate"),
            "training.learning_rate",
        )
    },
    "search.parameters.adapter.target_modules": json.dumps({"values": TARGETS}),
    "adapter.rank": 4,
    "adapter.pruning_rate": 0.4,
    "adapter.layers": "[0, 1]",
    "adapter.module_ranks": "{v_proj: 2}",
    "adapter.module_alphas": "{v_proj: 8}",
    "adapter.modules_to_save": "[norm]",
    "task.num_train": 32,
    "training.epochs": 1,
    "training.learning_rate": 0.01,
    "training.lora_plus_ratio": 4,
    "training.learning_rate_schedule": "cosine",
    "training.optimizer": "adamw_8bit",
}
MARK = "targets"
TOKENS = torch.arange(5, 45)[None]


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    return model.eval()(input_ids=TOKENS).logits


def test_a_sweep_over_what_is_adapted(tmp_path: Path) -> None:
    code, output = to_end(start(command(tmp_path, **SETTINGS), MARK))
    assert code == 0, output
    ledger = Ledger.open(tmp_path, NAME)
    assert ledger.record.outcome is SweepOutcome.COMPLETE
    records = ledger.search_records()
    trained = [one.trial_spec.adapter.target_modules for one in records]
    assert sorted(map(json.dumps, trained)) == sorted(map(json.dumps, TARGETS))
    for number, record in enumerate(records):
        trial = record.trial_id
        code, output = to_end(start(command(tmp_path, "rerun", NAME, trial), MARK))
        assert code == 0, output
        assert "reproduced to the byte" in output
        merged, plain = tmp_path / f"merged{number}", tmp_path / f"plain{number}"
        for folder, form in ((merged, "merged"), (plain, "adapter")):
            words = ("export", NAME, trial, "--output", str(folder), "--format", form)
            code, output = to_end(start(command(tmp_path, *words), MARK))
            assert code == 0, output
        base = AutoModelForCausalLM.from_pretrained(BUILTIN_FOLDER, dtype=torch.float32)
        before = logits(base)
        adapted = logits(PeftModel.from_pretrained(base, plain))
        assert not torch.allclose(adapted, before, atol=1e-2)
        whole = AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float32)
        torch.testing.assert_close(logits(whole), adapted, atol=1e-4, rtol=1e-4)
