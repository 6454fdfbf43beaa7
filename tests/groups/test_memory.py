"""Signs of a lack of memory."""

import pytest
import torch

from droplora_sweep.groups.exits import is_out_of_memory, num_oom_kills, oom_counters


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("std::bad_alloc"),
    ],
)
def test_every_way_in_which_a_worker_says_that_memory_did_not_suffice(error):
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        RuntimeError("Connection closed by peer"),
        ValueError("out of memory is a text here"),
    ],
)
def test_other_errors_are_no_lack_of_memory(error):
    assert not is_out_of_memory(error)


def test_torch_itself_says_it_like_that_on_cpu():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


def test_kills_are_counted_by_the_first_place_that_tells(tmp_path):
    of_container, of_machine = tmp_path / "memory.events", tmp_path / "vmstat"
    of_machine.write_text("nr_free_pages 12\noom_kill 7\n")
    assert num_oom_kills((of_container, of_machine)) == 7
    of_container.write_text("low 0\nmax 3\noom 2\noom_kill 1\noom_group_kill 0\n")
    assert num_oom_kills((of_container, of_machine)) == 1
    assert num_oom_kills((tmp_path / "absent",)) is None


@pytest.mark.parametrize(
    ("lines", "first"),
    [
        ("9:name=systemd:/\n4:memory:/jobs/7\n0::/\n", "memory/jobs/7/memory.oom_control"),
        ("0::/jobs/7\n", "jobs/7/memory.events"),
        # A path of the host's, which a container does not see.
        ("4:memory:/docker/ab\n0::/\n", "memory/memory.oom_control"),
    ],
)
def test_a_process_counts_the_kills_of_its_own_cgroup(tmp_path, lines, first):
    own = tmp_path / "cgroup"
    own.write_text(lines)
    for folder in ("memory/jobs/7", "jobs/7"):
        (tmp_path / folder).mkdir(parents=True)
    for path, count in (("memory/memory.oom_control", 1), (first, 2)):
        (tmp_path / path).write_text(f"oom_kill {count}\n")
    assert num_oom_kills(oom_counters(own, tmp_path)) == 2


def test_this_machine_tells():
    assert num_oom_kills() is not None
