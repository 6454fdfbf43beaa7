"""Remarks below the table of a sweep's trials."""

from __future__ import annotations

from typing import TYPE_CHECKING

from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.present.contents.trials import trials_notes
from tests.ledgers import Driver, make_sweep

if TYPE_CHECKING:
    from pathlib import Path


def test_trials_that_vllm_did_not_decode_are_told_of(tmp_path: Path) -> None:
    driver = Driver(tmp_path, make_sweep("decoded"), {})
    names = []
    for rate, share in ((0.0, 1.0), (0.2, 0.5), (0.4, 0.0)):
        names.append(driver.start(rate))
        driver.report(names[-1], vllm_share=share)
    record = Ledger.open(tmp_path, "decoded").record
    assert trials_notes(record) == [
        f"vLLM did not decode all responses of 2 trials, beginning with {names[1]}: transformers "
        "did; `note` in results.parquet says why"
    ]
