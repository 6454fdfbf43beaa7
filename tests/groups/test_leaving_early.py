"""A driver that leaves while its groups are starting ends as it means to."""

from __future__ import annotations

import subprocess
import sys

import pytest

LEAVE = """
import sys, tempfile, time
from pathlib import Path
from droplora_sweep.run.connection import connect
from droplora_sweep.groups.manager import GroupManager
from droplora_sweep.groups.pool import start_pool
from droplora_sweep.spec import SweepSpec

group = {"num_workers": 1, "max_groups": 1}
sweep = SweepSpec.model_validate({"name": "s", "search": {"num_trials": 1}, "group": group})
with connect("local"), tempfile.TemporaryDirectory() as scratch:
    pool = start_pool("left", sweep.group)
    with GroupManager(
        sweep=sweep, pool=pool, pool_name="left", scratch=Path(scratch)
    ):
        time.sleep(float(sys.argv[1]))
print("in order", flush=True)
# What still calls a Ray that was shut down ends the process.
time.sleep(2)
"""


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("after_s", [0.3, 2.0])
def test_it_ends_in_order(after_s: float) -> None:
    command = [sys.executable, "-c", LEAVE, str(after_s)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert (ended.returncode, "in order" in ended.stdout) == (0, True), ended.stderr
