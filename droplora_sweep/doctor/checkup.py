"""Examination of this machine or of a cluster, in the order in which it is done."""

from __future__ import annotations

import contextlib
import platform
import uuid
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from droplora_sweep.errors import Fault, InputError
from droplora_sweep.mlflow_view.ui import is_server
from droplora_sweep.plan.room import check_capacity
from droplora_sweep.plan.survey import survey
from droplora_sweep.run.connection import LOCAL, connect, local_node
from droplora_sweep.spec import GroupSpec, is_hub_id, local_folder
from droplora_sweep.spec.locations import is_url
from droplora_sweep.spec.trial import BUILTIN

from .devices import free_port, try_device
from .facts import HERE, Asked, Unreached
from .findings import (
    HUB_TOKEN,
    NODE,
    Checkup,
    Finding,
    Level,
    all_findings,
    device_findings,
    quick_findings,
)
from .looking import look, remove_marker, write_marker
from .mlflow_server import mlflow_finding
from .table import problem_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from droplora_sweep.run.connection import RayAddress
    from droplora_sweep.spec import SweepFile, SweepSpec
    from droplora_sweep.tasks.task import Task

    from .facts import DeviceFacts, NodeFacts

LOOPBACK = "127.0.0.1"


def examine(cluster: RayAddress, file: SweepFile | None, say: Callable[[str], None]) -> Checkup:
    """Look at this node and, with a cluster, at each of its nodes.

    Args:
        cluster: ``local``, or a cluster's address.
        file: The sweep that is to be run; what it does not need is then not asked for.
        say: Shows the user what is done now.

    Raises:
        SweepError: There is no such cluster.
    """
    findings: list[Finding] = []
    asked = Asked(variables=(HUB_TOKEN,))
    if file is not None:
        task = None
        try:
            task = survey(file).task
        except InputError as error:
            findings += [_of_file(fault) for fault in error.faults]
        asked = asked_of(file.sweep, task)
    with _marked(asked) as (asked, problem):
        say(f"looking at {HERE}")
        here = look(asked, f"{HERE} ({platform.node()})")
        if problem is not None:
            here = replace(here, storage_problem=problem)
        if cluster.address == LOCAL:
            findings += all_findings(here, [], asked)
            findings += [] if file is None else capacity(file, [local_node()])
            say("trying torch, attention, DeepSpeed and an all-reduce")
            findings += device_findings([_try_here(asked)], asked)
            num_nodes = 0
        else:
            num_nodes = _examine_nodes(cluster, file, asked, here, findings, say)
    uri = None if file is None else file.sweep.tracking.mlflow_uri
    if uri is not None and is_server(uri):
        findings.append(mlflow_finding(uri))
    return Checkup(num_nodes=num_nodes, findings=tuple(findings))


def _examine_nodes(
    cluster: RayAddress,
    file: SweepFile | None,
    asked: Asked,
    here: NodeFacts,
    findings: list[Finding],
    say: Callable[[str], None],
) -> int:
    """Look at each node, and add what is found; the number of nodes."""
    with connect(cluster):
        from droplora_sweep.groups.cluster import cluster_nodes

        from .nodes import look_everywhere, try_everywhere, worker_nodes

        group = GroupSpec() if file is None else file.sweep.group
        nodes = worker_nodes()
        say(f"looking at {len(nodes)} nodes of {cluster}")
        found = look_everywhere(nodes, asked)
        findings += all_findings(here, found, asked)
        if not nodes:
            findings.append(
                Finding(
                    check=NODE,
                    place=str(cluster),
                    level=Level.WARNING,
                    text="no node that workers can run on has joined",
                    advice="start one, or let the autoscaler do so; `run` waits "
                    "group.wait_for_nodes_minutes",
                )
            )
        if file is not None and nodes:
            findings += capacity(file, cluster_nodes())
        say("trying torch, attention, DeepSpeed and an all-reduce on all of them")
        looked_at = zip(nodes, found, strict=True)
        reached = [node for node, facts in looked_at if not isinstance(facts, Unreached)]
        on_gpus = any(node.has_gpu for node in reached)
        tried = [node for node in reached if node.has_gpu or not on_gpus]
        findings += device_findings(
            try_everywhere(tried, asked.attention, group, on_gpus=on_gpus), asked
        )
        return len(nodes)


def require_alike(file: SweepFile, say: Callable[[str], None]) -> None:
    """Compare the nodes of the connected cluster with this one before anything is started.

    Versions, what they see of the storage, and their limits of open files: what the canary does not
    tell. A node that does not answer is left to the health checks.

    Args:
        file: The sweep's.
        say: Shows the user each warning.

    Raises:
        InputError: With a line for each fault.
    """
    from .nodes import look_everywhere, worker_nodes

    quick = replace(asked_of(file.sweep, None), is_quick=True)
    with _marked(quick) as (asked, problem):
        here = look(asked, HERE)
        if problem is not None:
            here = replace(here, storage_problem=problem)
        found = quick_findings(here, look_everywhere(worker_nodes(), asked), asked)
    faults, warnings = [], []
    for one in found:
        if one.level is Level.FAULT and one.check != NODE:
            problem = f"{one.text}; {one.advice}"
            faults.append(
                Fault("", one.field, f"must be fine on {one.place}: {problem}")
                if one.field
                else Fault(one.place, one.check, problem)
            )
        elif one.level is not Level.OK:
            warnings.append(replace(one, level=Level.WARNING))
    for line in problem_lines(warnings):
        say(line)
    if faults:
        raise file.locate(InputError(faults))


def asked_of(sweep: SweepSpec, task: Task | None) -> Asked:
    """Return what a sweep needs of nodes. Pure but for the working folder's name.

    Args:
        sweep: The sweep.
        task: Its task, where the data are here.
    """
    is_hub = sweep.model.path != BUILTIN and is_hub_id(sweep.model.path)
    places = {
        "task.data": sweep.task.data,
        "task.train.data": None if sweep.task.train is None else sweep.task.train.data,
        **{
            f"task.benchmarks.{name}.data": one.data
            for name, one in sweep.task.benchmark_specs.items()
        },
    }
    given = {field: place for field, place in places.items() if place is not None}
    local = {
        field: str(local_folder(place).resolve())
        for field, place in given.items()
        if not is_url(place) and (local_folder(place).exists() or not is_hub_id(place))
    }
    from_hub = is_hub or any(
        field not in local and not is_url(place) for field, place in given.items()
    )
    judge = sweep.evaluation.judge
    keys = [] if judge is None or judge.key_env is None else [judge.key_env]
    runs_code = None if task is None else any(one.scorer.runs_code for one in task.benchmarks)
    model = sweep.model
    if not is_hub and model.path != BUILTIN:
        model = model.model_copy(update={"path": str(local_folder(model.path).resolve())})
    storage = sweep.storage
    return Asked(
        storage=storage if is_url(storage) else str(local_folder(storage).resolve()),
        transport=sweep.group.checkpoint_transport,
        model=None if is_hub else model,
        data=local,
        hub_model=sweep.model if is_hub else None,
        asks_hub=from_hub,
        needs_gpus=sweep.group.gpus_per_worker > 0,
        needs_vllm=sweep.evaluation.backend == "vllm",
        needs_sandbox=False if sweep.evaluation.allow_unsandboxed_code else runs_code,
        attention=sweep.model.attention,
        dtype=sweep.model.dtype,
        variables=(*([HUB_TOKEN] if from_hub else []), *keys),
    )


@contextlib.contextmanager
def _marked(asked: Asked) -> Iterator[tuple[Asked, str | None]]:
    """Write something into the storage for nodes to find; why that failed where it did."""
    if asked.storage is None:
        yield asked, None
        return
    was_there = is_url(asked.storage) or Path(asked.storage).exists()
    marker = f".doctor-{uuid.uuid4().hex}"
    problem = write_marker(asked.storage, marker)
    try:
        yield replace(asked, marker=marker), problem
    finally:
        remove_marker(asked.storage, marker, with_folder=not was_there)


def capacity(file: SweepFile, nodes: Sequence[Mapping[str, float]]) -> list[Finding]:
    """Return the fault of a cluster that can hold no group; nothing where it can. Pure.

    Args:
        file: The sweep's.
        nodes: Total resources of each node.
    """
    try:
        check_capacity(file, nodes)
    except InputError as error:
        [fault] = error.faults
        return [replace(_of_file(fault), check="capacity", advice="add nodes, or change `group`")]
    return []


def _try_here(asked: Asked) -> DeviceFacts:
    """Try this machine's device, and a sum over one process."""
    settings = {
        "is_gpu": local_node()["GPU"] > 0,
        "attention": asked.attention,
        "host": LOOPBACK,
        "port": free_port(),
        "rank": 0,
        "world_size": 1,
    }
    return try_device(settings, f"{HERE} ({platform.node()})")


def _of_file(fault: Fault) -> Finding:
    where = ": ".join(filter(None, (fault.where, fault.field)))
    return Finding(
        check="file",
        place=HERE,
        level=Level.FAULT,
        text=f"{where}: {fault.problem}",
        advice="correct the file; `droplora-sweep validate` checks it alone",
        field=fault.field,
    )
