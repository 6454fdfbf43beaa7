"""Number of groups that fit: whole workers on single nodes, groups over nodes."""

import pytest

from droplora_sweep.groups.capacity import (
    RoomNotice,
    group_capacity,
    idle_gpus,
    worker_capacity,
)
from droplora_sweep.spec import GroupSpec


def group(**fields):
    return GroupSpec.model_validate({"num_workers": 2, **fields})


@pytest.mark.parametrize(
    ("nodes", "workers"),
    [
        ([{"CPU": 2.0}], 2),
        ([{"CPU": 1.0}, {"CPU": 1.0}], 2),
        ([{"CPU": 1.5}, {"CPU": 1.5}], 2),
        ([{"memory": 1e9}], 0),
        ([], 0),
    ],
)
def test_a_worker_needs_its_cpus_on_one_node(nodes, workers):
    assert worker_capacity(group(), nodes) == workers


def test_a_gpu_worker_needs_both_a_gpu_and_its_cpus():
    nodes = [{"CPU": 48.0, "GPU": 4.0}, {"CPU": 2.0, "GPU": 8.0}, {"CPU": 64.0}]
    assert worker_capacity(group(gpus_per_worker=1), nodes) == 6


def test_groups_may_span_nodes_and_stay_below_their_limit():
    nodes = [{"CPU": 3.0}, {"CPU": 3.0}]
    assert group_capacity(group(), nodes) == 3
    assert group_capacity(group(max_groups=2), nodes) == 2


def test_gpus_that_no_worker_reserves_are_told_of():
    nodes = [{"CPU": 8.0, "GPU": 4.0}, {"CPU": 8.0}]
    assert idle_gpus(group(), nodes) == (
        "note: 4 GPUs stay idle, since `group.gpus_per_worker` is 0, which trains on CPUs"
    )
    assert idle_gpus(group(gpus_per_worker=1), nodes) is None
    assert idle_gpus(group(), nodes[1:]) is None


def test_missing_nodes_are_told_of_once_a_minute_while_they_are_missing():
    notice = RoomNotice(group(gpus_per_worker=1))
    whole, half = [{"CPU": 2.0, "GPU": 2.0}], [{"CPU": 2.0, "GPU": 1.0}]
    said = [notice.after(whole, 0.0)]
    said += [notice.after(half, float(second)) for second in range(10, 200, 10)]
    assert [text for text in said if text] == [
        f"no room for a group for {minutes} min: it needs 2 workers of 1 CPU and 1 GPU, the "
        "cluster can hold 1; waiting for nodes"
        for minutes in (1, 2, 3)
    ]
    assert notice.after(whole, 260.0) is None
    assert notice.after(half, 300.0) is None
    assert notice.after(half, 359.0) is None
    assert notice.after(half, 360.0) is not None
