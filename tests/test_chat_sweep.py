"""One real sweep by the chat template of the built-in model, run again and exported."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.models.loading import load_tokenizer
from droplora_sweep.records.layout import MODEL_CARD
from droplora_sweep.records.trial import SweepOutcome
from droplora_sweep.spec import ModelSpec
from tests.faults.sweeping import NAME, ONE_GROUP, TINY, command, start, to_end

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(900)]

SETTINGS = {
    **TINY,
    **ONE_GROUP,
    "search.num_trials": 2,
    "task.prompt": "chat",
    "task.system": "You answer in a word.",
    "task.num_train": 32,
    "training.epochs": 1,
}
MARK = "chat"


def test_a_sweep_by_a_chat_template(tmp_path: Path) -> None:
    code, output = to_end(start(command(tmp_path, **SETTINGS), MARK))
    assert code == 0, output
    ledger = Ledger.open(tmp_path, NAME)
    assert ledger.record.outcome is SweepOutcome.COMPLETE
    from droplora_sweep.evaluation.chat_template import ChatTemplate

    digest = ChatTemplate(load_tokenizer(ModelSpec())).digest
    assert ledger.record.data_digests["chat_template"] == digest
    trial = ledger.search_records()[0].trial_id
    code, output = to_end(start(command(tmp_path, "rerun", NAME, trial), MARK))
    assert code == 0, output
    assert "reproduced to the byte" in output
    folder = tmp_path / "exported"
    code, output = to_end(
        start(command(tmp_path, "export", NAME, trial, "--output", str(folder)), MARK)
    )
    assert code == 0, output
    card = (folder / MODEL_CARD).read_text()
    assert "with the chat template of the base model's tokenizer" in card
    assert "the system's text is 'You answer in a word.'" in card
    assert "apply_chat_template(" in card
