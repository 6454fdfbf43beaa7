"""Number of groups that fit: whole workers on single nodes, groups over nodes."""

import pytest

from droplora_sweep.groups.capacity import (
    RoomNotice,
    group_capacity,
    idle_gpus,
    kinds_of_gpus,
    largest_group,
    worker_capacity,
    workers_per_gpu,
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


@pytest.mark.parametrize(("share", "workers"), [(0.5, 4), (0.4, 4), (0.3, 6), (0.1, 20)])
def test_the_share_of_a_worker_is_of_one_gpu(share, workers):
    one = group(num_workers=1, gpus_per_worker=share)
    assert worker_capacity(one, [{"CPU": 48.0, "GPU": 2.0}]) == workers
    assert workers_per_gpu(one) == workers / 2


def test_workers_run_on_nodes_with_their_type_of_gpu_alone():
    nodes = [
        {"CPU": 8.0, "GPU": 4.0, "accelerator_type:A100": 1.0},
        {"CPU": 8.0, "GPU": 2.0, "accelerator_type:H100": 1.0},
    ]
    chosen = group(gpus_per_worker=1, accelerator_type="H100")
    assert worker_capacity(chosen, nodes) == 2
    assert worker_capacity(group(gpus_per_worker=1), nodes) == 6
    assert kinds_of_gpus(nodes) == ["A100", "H100"]


def test_a_group_that_must_be_on_one_node_is_counted_there():
    nodes = [{"CPU": 3.0}, {"CPU": 3.0}, {"CPU": 1.0}]
    packed = group(placement="strict_pack")
    assert group_capacity(packed, nodes) == 2
    assert group_capacity(group(placement="spread"), nodes) == 3
    assert largest_group(packed, nodes) == 3
    assert largest_group(group(), nodes) == 7


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
