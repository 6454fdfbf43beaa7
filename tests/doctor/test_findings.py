"""Findings from facts: each fault that a node can have is one row, with one line of advice."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from droplora_sweep.doctor.checkup import asked_of, capacity
from droplora_sweep.doctor.devices import PARTS, read_probe
from droplora_sweep.doctor.facts import HERE, Asked, NodeFacts, Unreached
from droplora_sweep.doctor.findings import (
    Checkup,
    Finding,
    Level,
    all_findings,
    device_findings,
    quick_findings,
)
from droplora_sweep.doctor.mlflow_server import judge_answer
from droplora_sweep.doctor.table import advice_lines, checkup_json, checkup_table
from droplora_sweep.spec import ModelSpec, load_sweep_file

if TYPE_CHECKING:
    from droplora_sweep.spec import CheckpointTransport

GB = 10**9
HEALTHY = NodeFacts(
    place="a",
    versions={"Python": "3.11.9", "torch": "2.13.0", "code": "1234abcd"},
    open_files=65536,
    num_gpus=8,
    gpu_driver="550.54",
    free_bytes={"/tmp": 500 * GB, "/shared": 900 * GB},
    shared_memory_bytes=64 * GB,
    digests={"model.path": {"config.json": "1", "model.safetensors": "2"}, "task.data": {"x": "3"}},
    is_set={"JUDGE_KEY": True, "HF_TOKEN": True},
)
ASKED = Asked(
    storage="/shared/results",
    marker=".doctor-1",
    model=ModelSpec(path="/shared/model"),
    data={"task.data": "/shared/data"},
    hub_model=ModelSpec(path="org/name"),
    needs_gpus=True,
    needs_vllm=True,
    needs_sandbox=True,
    dtype="bfloat16",
    variables=("JUDGE_KEY", "HF_TOKEN"),
)
OTHER_MODEL = {**HEALTHY.digests, "model.path": {"config.json": "1", "model.safetensors": "9"}}

FAULTS = {
    "other torch": (
        {"versions": {**HEALTHY.versions, "torch": "2.12.0"}},
        "versions",
        Level.FAULT,
        "torch is 2.12.0, the driver's is 2.13.0",
    ),
    "other code": (
        {"versions": {**HEALTHY.versions, "code": "0"}},
        "versions",
        Level.FAULT,
        "code is 0, the driver's is 1234abcd",
    ),
    "no Ray there": (
        {"versions": {name: HEALTHY.versions[name] for name in ("Python", "code")}},
        "versions",
        Level.FAULT,
        "torch is missing, the driver's is 2.13.0",
    ),
    "few files": ({"open_files": 256}, "ulimit -n", Level.FAULT, "256"),
    "rather few files": ({"open_files": 1024}, "ulimit -n", Level.WARNING, "1,024"),
    "storage of one node": (
        {"sees_storage": False},
        "storage",
        Level.WARNING,
        "what the driver wrote is not seen",
    ),
    "storage that is read-only": (
        {"storage_problem": "Read-only file system"},
        "storage",
        Level.FAULT,
        "cannot be used: Read-only file system",
    ),
    "no GPU": ({"num_gpus": 0}, "GPUs", Level.WARNING, "none that a driver shows"),
    "small shared memory": (
        {"shared_memory_bytes": 64 << 20},
        "shared memory",
        Level.WARNING,
        "0.1 GB",
    ),
    "no bubblewrap": (
        {"sandbox_problem": "bubblewrap must be installed, got no `bwrap` on PATH"},
        "sandbox",
        Level.FAULT,
        "bubblewrap must be installed, got no `bwrap` on PATH",
    ),
    "no vLLM": (
        {"vllm_problem": "there is no vLLM in /x"},
        "vLLM",
        Level.FAULT,
        "there is no vLLM in /x",
    ),
    "full disk": (
        {"free_bytes": {"/tmp": 200 << 20, "/shared": 900 * GB}},
        "disk",
        Level.FAULT,
        "0.2 GB free in /tmp",
    ),
    "nearly full disk": ({"free_bytes": {"/tmp": 9 * GB}}, "disk", Level.WARNING, "9.0 GB free"),
    "clock ahead": ({"clock_off_s": 90.0}, "clock", Level.FAULT, "90 s ahead of the driver's"),
    "clock behind": ({"clock_off_s": -7.0}, "clock", Level.WARNING, "7 s behind the driver's"),
    "other model": (
        {"digests": OTHER_MODEL},
        "model",
        Level.FAULT,
        "model.path: model.safetensors differs from the driver's",
    ),
    "no data": (
        {"missing": {"task.data": "/shared/data is not there"}},
        "data",
        Level.FAULT,
        "task.data: /shared/data is not there",
    ),
    "no Hub": ({"hub_problem": "timed out"}, "Hub", Level.FAULT, "timed out"),
    "no Hub, but the model": (
        {"hub_problem": "timed out", "has_hub_model": True},
        "Hub",
        Level.WARNING,
        "timed out",
    ),
    "no key": (
        {"is_set": {"JUDGE_KEY": False, "HF_TOKEN": True}},
        "tokens",
        Level.FAULT,
        "JUDGE_KEY is not set",
    ),
    "no token": (
        {"is_set": {"JUDGE_KEY": True, "HF_TOKEN": False}},
        "tokens",
        Level.WARNING,
        "HF_TOKEN is not set",
    ),
}
"""Faults of a node: facts that differ, the check, its weight, and the text of its row."""


def not_fine(findings: list[Finding]) -> list[Finding]:
    return [one for one in findings if one.level is not Level.OK]


def test_nodes_that_are_fine_and_alike_give_rows_without_advice() -> None:
    findings = all_findings(HEALTHY, [replace(HEALTHY, place="b")], ASKED)
    assert not_fine(findings) == []
    assert {one.advice for one in findings} == {""}
    assert {one.check for one in findings} == {
        *("versions", "ulimit -n", "storage", "GPUs", "shared memory", "sandbox", "vLLM"),
        *("disk", "clock", "model", "data", "Hub", "tokens"),
    }


@pytest.mark.parametrize("case", FAULTS)
def test_what_is_wrong_on_a_node_is_one_finding_with_advice(case: str) -> None:
    changed, check, level, text = FAULTS[case]
    node = replace(HEALTHY, place="b", **changed)
    [found] = not_fine(all_findings(HEALTHY, [HEALTHY, node], ASKED))
    assert (found.check, found.place, found.level) == (check, "b", level)
    assert found.text.startswith(text)
    assert found.advice
    assert Checkup(num_nodes=2, findings=(found,)).has_fault == (level is Level.FAULT)


def test_what_a_sweep_has_no_use_for_is_no_fault() -> None:
    bare = replace(HEALTHY, place="b", num_gpus=0, vllm_problem="none", sandbox_problem="none")
    asked = replace(ASKED, needs_gpus=False, needs_vllm=False, needs_sandbox=False)
    assert not_fine(all_findings(HEALTHY, [bare], asked)) == []


def test_a_bucket_that_a_node_cannot_use_is_a_fault_since_workers_write_there() -> None:
    asked = replace(ASKED, storage="s3://bucket/sweeps")
    node = replace(HEALTHY, place="b", sees_storage=False, storage_problem="no credentials")
    [found] = not_fine(quick_findings(HEALTHY, [node], asked))
    assert (found.check, found.level, found.field) == ("storage", Level.FAULT, "storage")
    assert "credentials" in found.advice


@pytest.mark.parametrize(
    ("storage", "transport", "level", "advice"),
    [
        ("/shared/results", "auto", Level.WARNING, "through Ray"),
        ("/shared/results", "storage", Level.FAULT, "mount it"),
        ("s3://bucket/sweeps", "ray", Level.WARNING, "through Ray"),
        ("s3://bucket/sweeps", "auto", Level.FAULT, "checkpoint_transport: ray"),
    ],
)
def test_a_storage_that_a_node_does_not_see_weighs_as_its_files_travel(
    storage: str, transport: CheckpointTransport, level: Level, advice: str
) -> None:
    asked = replace(ASKED, storage=storage, transport=transport)
    [found] = not_fine(
        quick_findings(HEALTHY, [replace(HEALTHY, place="b", sees_storage=False)], asked)
    )
    assert (found.check, found.level) == ("storage", level)
    assert advice in found.advice


def test_a_storage_that_the_driver_cannot_write_is_a_fault() -> None:
    here = replace(HEALTHY, storage_problem="Permission denied")
    [found] = not_fine(quick_findings(here, [], ASKED))
    assert (found.level, found.text) == (Level.FAULT, "cannot be used: Permission denied")


def test_a_node_without_this_package_is_told_how_to_get_it() -> None:
    lost = Unreached("b", "ModuleNotFoundError: No module named 'droplora_sweep'")
    [found] = not_fine(all_findings(HEALTHY, [lost], ASKED))
    assert (found.check, found.level) == ("versions", Level.FAULT)
    assert found.advice == (
        "install this package for the Python that Ray uses there, or submit with --working-dir"
    )


def test_a_driver_s_torch_for_cpus_is_the_same_as_workers_for_gpus() -> None:
    here = replace(HEALTHY, versions={**HEALTHY.versions, "torch": "2.13.0+cpu"})
    node = replace(HEALTHY, place="b", versions={**HEALTHY.versions, "torch": "2.13.0+cu129"})
    assert not_fine(quick_findings(here, [node], ASKED)) == []


def test_a_node_that_does_not_answer_is_a_fault_of_its_own() -> None:
    lost = Unreached("b", "no answer in time (90 s): it is frozen, or what it needs is in use")
    [found] = not_fine(quick_findings(HEALTHY, [lost], ASKED))
    assert (found.check, found.level) == ("node", Level.FAULT)
    assert "Ray's logs" in found.advice


def test_a_probe_that_hangs_is_a_fault_of_the_part_that_it_hung_in() -> None:
    printed = (
        'a library says something\n{"part": "torch", "done": "2.13.0 on H100"}\n'
        '{"part": "bfloat16", "problem": "none"}\n{"part": "attention", "done": "flash"}\n'
        '{"part": "deepspeed", "done": "0.19.8"}\n'
    )
    facts = read_probe(printed, "b", "no answer within 150 s", is_gpu=True)
    assert [*facts.done, *facts.problems] == [
        "torch",
        "attention",
        "deepspeed",
        "bfloat16",
        "all-reduce",
    ]
    found = not_fine(device_findings([facts], ASKED))
    assert [(one.check, one.level, one.text) for one in found] == [
        ("bfloat16", Level.FAULT, "none"),
        ("all-reduce", Level.FAULT, "no answer within 150 s"),
    ]
    assert all(one.advice for one in found)
    float32 = not_fine(device_findings([facts], replace(ASKED, dtype="float32")))
    assert [one.level for one in float32] == [Level.WARNING, Level.FAULT]


def test_a_probe_that_prints_nothing_fails_in_its_first_part() -> None:
    facts = read_probe("", "b", "the process ended with -9: without a word", is_gpu=False)
    assert list(facts.problems) == [PARTS[0]]


@pytest.mark.parametrize(
    ("code", "said", "text", "advice"),
    [
        (401, "", "HTTP 401: asks for a login", "MLFLOW_TRACKING_USERNAME"),
        (403, "Permission denied", "HTTP 403: asks for a login", "MLFLOW_TRACKING_TOKEN"),
        (403, "Invalid Host header - possible DNS rebinding", "HTTP 403: refuses", "allowed-hosts"),
        (500, "", "HTTP 500", "log"),
    ],
)
def test_each_refusal_of_an_mlflow_server_has_its_advice(
    code: int, said: str, text: str, advice: str
) -> None:
    found = judge_answer(code, said)
    assert found.level is Level.FAULT
    assert found.text.startswith(text)
    assert advice in found.advice


def test_the_table_has_a_row_for_what_nodes_share_and_faults_come_first() -> None:
    nodes = [replace(HEALTHY, place=place) for place in "bcd"]
    slow = replace(HEALTHY, place="e", clock_off_s=-7.0, open_files=256)
    checkup = Checkup(num_nodes=4, findings=tuple(all_findings(HEALTHY, [*nodes, slow], ASKED)))
    rows = [[cell.text for cell in row.cells] for row in checkup_table(checkup).rows]
    assert ["clock", "ok", "within 5 s of the driver's", "3 nodes"] in rows
    assert ["ulimit -n", "fault", "256", "e"] in rows
    lines = advice_lines(checkup)
    assert lines == [
        "fault: ulimit -n, e: 256; `ulimit -n 65536` before Ray is started there; 1,024 is the "
        "least",
        "warning: clock, e: 7 s behind the driver's; let chrony or ntpd set it",
        "1 fault, 1 warning",
    ]
    assert len(checkup_json(checkup)) == len(checkup.findings)


def test_what_is_asked_of_nodes_is_what_the_file_needs() -> None:
    quickstart = "search_spaces/quickstart.yaml"
    plain = asked_of(load_sweep_file(quickstart).sweep, None)
    assert plain.model is not None
    assert (plain.hub_model, plain.asks_hub, plain.variables) == (None, False, ())
    assert plain.storage is not None
    assert plain.storage.startswith("/")
    revision = "a" * 40
    settings = ["model.path=org/name", f"model.revision={revision}", "storage=s3://bucket/sweeps"]
    far = asked_of(load_sweep_file(quickstart, settings).sweep, None)
    assert far.model is None
    assert far.hub_model is not None
    assert (far.storage, far.asks_hub, far.variables) == ("s3://bucket/sweeps", True, ("HF_TOKEN",))


def test_a_cluster_that_can_hold_no_group_is_a_fault_at_its_line() -> None:
    file = load_sweep_file("search_spaces/quickstart.yaml", ["group.num_workers=9"])
    [found] = capacity(file, [{"CPU": 2.0}])
    assert (found.check, found.place, found.level) == ("capacity", HERE, Level.FAULT)
    assert "--set group.num_workers=9: group.num_workers: must be at most 2" in found.text
    assert capacity(file, [{"CPU": 16.0}]) == []
