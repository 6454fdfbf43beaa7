"""Findings from facts; pure: each check is a function that returns what it found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from .facts import NodeFacts, Unreached

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .facts import Asked, DeviceFacts

MIN_OPEN_FILES: Final = 1024
"""Ray's processes and the workers of a few groups hold some hundreds each."""
GOOD_OPEN_FILES: Final = 4096
MIN_FREE_BYTES: Final = 1 << 30
GOOD_FREE_BYTES: Final = 20 << 30
"""Ray writes logs and objects that do not fit in memory; checkpoints and adapters come on top."""
MIN_SHARED_MEMORY_BYTES: Final = 1 << 30
"""NCCL and Ray's object store use it; Docker gives 64 MB where nothing is said."""
GOOD_CLOCK_S: Final = 5.0
MAX_CLOCK_S: Final = 60.0
"""A driver is taken for dead after 60 s; object stores refuse signatures that are minutes off."""
SHOWN_DIFFERENCES: Final = 3
VERSIONS: Final = "versions"
NODE: Final = "node"
"""Check that fails where a node does not answer; health checks see to such a node in a run."""


class Level(StrEnum):
    """Weight of a finding: only a fault fails."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Result of one check in one place.

    Attributes:
        check: Its name.
        place: The node, for people.
        level: Its weight.
        text: What was found.
        advice: What to do about it, in a line; "" where it is fine.
        field: Field of the file that it is about; "" for none.
    """

    check: str
    place: str
    level: Level
    text: str
    advice: str = ""
    field: str = ""


@dataclass(frozen=True, kw_only=True)
class Checkup:
    """An examination that is over.

    Attributes:
        num_nodes: Nodes of the cluster that workers may run on; 0 without a cluster.
        findings: Everything that was looked at, in order.
    """

    num_nodes: int
    findings: tuple[Finding, ...]

    @property
    def has_fault(self) -> bool:
        """True where something is to be mended before a sweep is run."""
        return any(one.level is Level.FAULT for one in self.findings)


def quick_findings(
    here: NodeFacts, found: Sequence[NodeFacts | Unreached], asked: Asked
) -> list[Finding]:
    """Return the findings that `run` looks for before anything is started.

    Args:
        here: The driver's node, with which the others are compared.
        found: The other nodes.
        asked: What was looked at.
    """
    findings = [open_files(here)]
    if asked.storage is not None:
        findings.append(storage(here, asked, is_driver=True))
    for facts in found:
        if isinstance(facts, Unreached):
            findings.append(unreached(facts))
            continue
        findings += [same_versions(here, facts), open_files(facts)]
        if asked.storage is not None:
            findings.append(storage(facts, asked))
    return findings


def all_findings(
    here: NodeFacts, found: Sequence[NodeFacts | Unreached], asked: Asked
) -> list[Finding]:
    """Return every finding of nodes; the arguments are those of `quick_findings`."""
    findings = quick_findings(here, found, asked)
    nodes = [facts for facts in found if isinstance(facts, NodeFacts)]
    for facts in (here, *nodes):
        # On a cluster the driver's node trains nothing.
        is_worker = not found or facts is not here
        if is_worker:
            findings += [gpus(facts, asked), shared_memory(facts), sandbox(facts, asked)]
            findings += [] if not asked.needs_vllm else [vllm(facts)]
        findings += disks(facts)
        findings += [] if facts is here else [clock(facts)]
        findings += files(here, facts, asked)
        findings += [] if not asked.asks_hub else [hub(facts, asked)]
        findings += variables(facts) if is_worker else []
    return findings


def unreached(node: Unreached) -> Finding:
    """Return the fault of a node that gave no answer."""
    if "No module named" in node.reason:
        # Workers of trials would end there in the same way.
        return _found(
            VERSIONS,
            node,
            f"tasks cannot run there: {node.reason}",
            Level.FAULT,
            "install this package for the Python that Ray uses there, or submit with --working-dir",
        )
    advice = "see Ray's logs of that node, or take it out of the cluster"
    return _found(NODE, node, node.reason, Level.FAULT, advice)


def same_versions(here: NodeFacts, facts: NodeFacts) -> Finding:
    """Compare the versions of a node with the driver's; builds of one version are alike.

    A driver may have a torch for CPUs, and its workers one for their GPUs.
    """
    names = sorted({*here.versions, *facts.versions})
    different = [
        f"{name} is {there}, the driver's is {own}"
        for name in names
        if (there := _released(facts, name)) != (own := _released(here, name))
    ]
    if different:
        advice = "install the same versions on all nodes, or use one image"
        return _found(VERSIONS, facts, _shortened(different), Level.FAULT, advice)
    text = f"Python {here.versions['Python']} and {len(names) - 1} packages as the driver's"
    return _found(VERSIONS, facts, text)


def _released(facts: NodeFacts, name: str) -> str:
    return facts.versions.get(name, "missing").partition("+")[0]


def open_files(facts: NodeFacts) -> Finding:
    """Weigh the limit of open files."""
    limit = facts.open_files
    text = "no limit" if limit < 0 else f"{limit:,}"
    if limit < 0 or limit >= GOOD_OPEN_FILES:
        return _found("ulimit -n", facts, text)
    level = Level.FAULT if limit < MIN_OPEN_FILES else Level.WARNING
    advice = f"`ulimit -n 65536` before Ray is started there; {MIN_OPEN_FILES:,} is the least"
    return _found("ulimit -n", facts, text, level, advice)


def storage(facts: NodeFacts, asked: Asked, *, is_driver: bool = False) -> Finding:
    """Weigh what a node sees of the storage, and what it can write there."""
    assert asked.storage is not None
    is_store = "://" in asked.storage
    problem = facts.storage_problem
    if problem is None and facts.sees_storage:
        return _found("storage", facts, "seen and writable")
    text = "what the driver wrote is not seen" if problem is None else f"cannot be used: {problem}"
    if is_driver or (facts.sees_storage and not is_store):
        advice = (
            "give the driver the store's credentials"
            if is_store
            else f"let the user of Ray write to {asked.storage}, or give another --storage"
        )
        return _found("storage", facts, text, Level.FAULT, advice, "storage")
    if asked.transport == "ray" or (asked.transport == "auto" and not is_store):
        advice = "what trials save goes through Ray to the driver's node; a shared folder is faster"
        return _found("storage", facts, text, Level.WARNING, advice, "storage")
    advice = "give every node the store's credentials" if is_store else "mount it on every node"
    advice += ", or set group.checkpoint_transport: ray"
    return _found("storage", facts, text, Level.FAULT, advice, "storage")


def gpus(facts: NodeFacts, asked: Asked) -> Finding:
    """Weigh the GPUs that NVIDIA's driver shows."""
    if facts.num_gpus:
        number = f"{facts.num_gpus} GPU{'s' * (facts.num_gpus != 1)}"
        return _found("GPUs", facts, f"{number}, NVIDIA driver {facts.gpu_driver}")
    text = "none that a driver shows"
    if not asked.needs_gpus:
        return _found("GPUs", facts, text)
    # Workers go where Ray counts GPUs, which need not be every node.
    advice = "see `nvidia-smi` there, if the node is to train; workers reserve GPUs"
    return _found("GPUs", facts, text, Level.WARNING, advice, "group.gpus_per_worker")


def shared_memory(facts: NodeFacts) -> Finding:
    """Weigh the size of ``/dev/shm``."""
    size = facts.shared_memory_bytes
    if size >= MIN_SHARED_MEMORY_BYTES:
        return _found("shared memory", facts, _size(size))
    advice = "start the container with --shm-size=8g, or mount an emptyDir of medium Memory"
    return _found("shared memory", facts, _size(size), Level.WARNING, advice)


def sandbox(facts: NodeFacts, asked: Asked) -> Finding:
    """Weigh that code can be run safely; only benchmarks that run code need it."""
    problem = facts.sandbox_problem
    if problem is None or asked.needs_sandbox is False:
        return _found("sandbox", facts, problem or "bubblewrap runs programs")
    level = Level.FAULT if asked.needs_sandbox else Level.WARNING
    advice = "install bubblewrap and allow user namespaces; code benchmarks need it"
    return _found("sandbox", facts, problem, level, advice)


def vllm(facts: NodeFacts) -> Finding:
    """Weigh that vLLM's environment is there, where it decodes."""
    if facts.vllm_problem is None:
        return _found("vLLM", facts, "its environment is there")
    advice = "`make vllm` on that node, or DROPLORA_VLLM there"
    return _found("vLLM", facts, facts.vllm_problem, Level.FAULT, advice, "evaluation.backend")


def disks(facts: NodeFacts) -> Iterator[Finding]:
    """Yield a finding for each disk that is written to."""
    for folder, free in facts.free_bytes.items():
        text = f"{_size(free)} free in {folder}"
        if free >= GOOD_FREE_BYTES:
            yield _found("disk", facts, text)
        else:
            level = Level.FAULT if free < MIN_FREE_BYTES else Level.WARNING
            advice = "make room, or name another disk (RAY_TMPDIR, --storage)"
            yield _found("disk", facts, text, level, advice)


def clock(facts: NodeFacts) -> Finding:
    """Weigh how far a clock is off the driver's."""
    off = abs(facts.clock_off_s)
    if off < GOOD_CLOCK_S:
        return _found("clock", facts, f"within {GOOD_CLOCK_S:g} s of the driver's")
    way = "ahead of" if facts.clock_off_s > 0 else "behind"
    level = Level.FAULT if off >= MAX_CLOCK_S else Level.WARNING
    advice = "let chrony or ntpd set it"
    return _found("clock", facts, f"{off:.0f} s {way} the driver's", level, advice)


def files(here: NodeFacts, facts: NodeFacts, asked: Asked) -> Iterator[Finding]:
    """Yield a finding for the model and for each local place of data."""
    for name in [*(["model.path"] if asked.model is not None else []), *asked.data]:
        check = "model" if name == "model.path" else "data"
        wanted, got = here.digests.get(name, {}), facts.digests.get(name, {})
        if name in facts.missing:
            text = f"{name}: {facts.missing[name]}"
            advice = "copy it to the same path on every node, or use a shared folder or a Hub id"
            yield _found(check, facts, text, Level.FAULT, advice, name)
        elif wanted and got != wanted:
            other = sorted(one for one in {*wanted, *got} if wanted.get(one) != got.get(one))
            text = f"{name}: {_shortened(other)} differ{'s' * (len(other) == 1)} from the driver's"
            yield _found(check, facts, text, Level.FAULT, "copy it from the driver's node", name)
        else:
            alike = "" if facts is here else ", as the driver's"
            yield _found(check, facts, f"{name}: {len(got)} file{'s' * (len(got) != 1)}{alike}")


def hub(facts: NodeFacts, asked: Asked) -> Finding:
    """Weigh that the Hub answers, where something is downloaded."""
    problem = facts.hub_problem
    if problem is None:
        return _found("Hub", facts, "answers, or HF_HUB_OFFLINE is set")
    is_needed = asked.hub_model is not None and not facts.has_hub_model
    level = Level.FAULT if is_needed else Level.WARNING
    advice = "let the node reach the Hub (HF_ENDPOINT, a proxy), or use a local folder"
    return _found("Hub", facts, problem, level, advice)


def variables(facts: NodeFacts) -> Iterator[Finding]:
    """Yield a finding for each variable that holds a secret; only the Hub does without."""
    for name, is_set in facts.is_set.items():
        if is_set:
            yield _found("tokens", facts, f"{name} is set")
            continue
        is_optional = name == HUB_TOKEN
        advice = f"set {name} where Ray is started there, or in the job's runtime environment"
        advice += "; models that ask for no login do without" if is_optional else ""
        level = Level.WARNING if is_optional else Level.FAULT
        yield _found("tokens", facts, f"{name} is not set", level, advice)


HUB_TOKEN: Final = "HF_TOKEN"
REMEDIES: Final = {
    "torch": "install torch for the node's CUDA driver, and see `nvidia-smi` there",
    "bfloat16": "use a GPU that computes in bfloat16, or model.dtype: float32",
    "attention": "install what model.attention needs, or leave that field out",
    "deepspeed": "install DeepSpeed as `make` does; `ds_report` says what it lacks",
    "all-reduce": "open the ports between nodes, or name the network in group.network_interface",
}


def device_findings(tried: Sequence[DeviceFacts], asked: Asked) -> list[Finding]:
    """Return a finding for each part that was tried on each node."""
    findings = []
    for facts in tried:
        findings += [_found(part, facts, text) for part, text in facts.done.items()]
        for part, reason in facts.problems.items():
            is_unused = part == "bfloat16" and (asked.dtype == "float32" or not facts.is_gpu)
            level = Level.WARNING if is_unused else Level.FAULT
            findings.append(_found(part, facts, reason, level, REMEDIES[part]))
    return findings


def _found(
    check: str,
    where: NodeFacts | DeviceFacts | Unreached,
    text: str,
    level: Level = Level.OK,
    advice: str = "",
    field: str = "",
) -> Finding:
    return Finding(
        check=check, place=where.place, level=level, text=text, advice=advice, field=field
    )


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB"


def _shortened(parts: Sequence[str]) -> str:
    shown = ", ".join(parts[:SHOWN_DIFFERENCES])
    left = len(parts) - SHOWN_DIFFERENCES
    return f"{shown} and {left} more" if left > 0 else shown
