"""Room for groups: what fits, what is waited for, and what is refused."""

from __future__ import annotations

import pytest

from droplora_sweep.errors import InputError
from droplora_sweep.plan.plan import make_plan
from droplora_sweep.plan.room import check_capacity, waiting_note
from droplora_sweep.plan.survey import survey
from droplora_sweep.spec import load_sweep_file

SPACE = "search_spaces/quickstart.yaml"
HEAD = [{"CPU": 0.0}]


def test_a_head_alone_is_planned_with_what_the_file_asks_for() -> None:
    found = survey(load_sweep_file(SPACE, ["group.num_workers=2"]))
    wanted = (
        "group: `run` would wait up to 15 min for nodes to join: a group needs 2 workers of 1 CPU, "
        "the cluster can hold 0 so far"
    )
    assert waiting_note(found.sweep.group, HEAD) == wanted
    assert waiting_note(found.sweep.group, [*HEAD, {"CPU": 2.0}]) is None
    plan = make_plan(found, HEAD)
    assert plan.num_groups is None
    assert plan.num_trials is not None


def test_a_sweep_that_does_not_wait_is_refused() -> None:
    file = load_sweep_file(SPACE, ["group.num_workers=2", "group.wait_for_nodes_minutes=0"])
    assert waiting_note(file.sweep.group, HEAD) is None
    with pytest.raises(InputError, match="must be at most 0"):
        check_capacity(file, HEAD)
