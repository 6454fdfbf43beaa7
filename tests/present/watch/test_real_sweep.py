"""A real sweep that is followed and steered on the page, pressed in a browser."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.records.trial import SweepOutcome, TrialState
from tests.chrome import Tab
from tests.faults.sweeping import NAME, ONE_GROUP, command, start, to_end, wait_for
from tests.present.report.browser import needs_chromium

if TYPE_CHECKING:
    from pathlib import Path

LONG = {**ONE_GROUP, "search.num_trials": 2, "training.epochs": 30}
"""Two trials one after the other, each of 90 steps: time to act on one."""


@pytest.mark.slow
@pytest.mark.ray
@needs_chromium
@pytest.mark.timeout(1500)
def test_trials_of_a_real_sweep_are_stopped_pinned_and_cloned_on_the_page(tmp_path: Path) -> None:
    storage = tmp_path / "results"
    driver = start(command(storage, **LONG), str(tmp_path))
    wait_for(driver, "evaluated 1", trial=0)
    watch = command(storage, "watch", NAME, "--port", "0")
    page = subprocess.Popen(watch, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert page.stdout is not None
    line = page.stdout.readline()
    found = re.fullmatch(rf"{NAME} is shown on (http://127\.0\.0\.1:\d+/\?token=\S+)\n", line)
    assert found is not None, (line, page.stderr and page.stderr.read())
    with contextlib.ExitStack() as ends, Tab() as tab:
        ends.callback(page.kill)
        tab.open(found[1])
        tab.until("document.querySelector('g[data-trial^=t0000]')")
        tab.until("document.querySelector('article[data-trial^=t0000] progress')")
        tab.click("article[data-trial^=t0000] summary")
        tab.click("article[data-trial^=t0000] button.grave")
        tab.until("document.querySelector('#said').innerText.includes('ends at its next step')")
        tab.until("document.querySelector('article[data-trial^=t0001] form')", 300)
        tab.click("article[data-trial^=t0001] form button")
        tab.until("document.querySelector('#said').innerText.includes('pinned')")
        tab.until("document.querySelector('article[data-trial^=t0001] .mark')")
        tab.click("article[data-trial^=t0001] a")
        tab.until("document.querySelector('#settings')")
        tab.click("#settings")
        tab.type("training.epochs=2")
        tab.click("#clone button")
        # Another page is loaded meanwhile.
        queued = "document.querySelector('#said')?.innerText.includes('queued, a clone of t0001')"
        tab.until(queued)
        code, output = to_end(driver)
        assert code == 0, output
        tab.until("document.querySelector('#head').innerText.includes('Over')")
        tab.until("!document.querySelector('#late')", 300)
        assert "this is its last answer" in tab.value("document.querySelector('#answer').innerText")
        assert tab.complaints == []
        page.send_signal(signal.SIGINT)
        rest, complaints = page.communicate(timeout=60)
        assert (page.returncode, complaints) == (0, "")
        assert rest.endswith(f"{NAME}: its page is closed; its driver was told nothing\n")
    record = Ledger.open(storage, NAME).record
    assert record.outcome is SweepOutcome.COMPLETE
    stopped, pinned, cloned = record.trials
    assert stopped.state is TrialState.STOPPED
    assert stopped.stop_asked_by is not None
    assert pinned.state is TrialState.COMPLETE
    assert pinned.pinned_by is not None
    assert cloned.state is TrialState.COMPLETE
    assert cloned.clone_of == pinned.trial_id
    assert cloned.trial_spec.training.epochs == 2
