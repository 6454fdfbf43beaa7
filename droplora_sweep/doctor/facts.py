"""Facts about nodes, and what they are asked for, as messages between driver and nodes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from droplora_sweep.spec import CheckpointTransport, ModelSpec

HERE = "the driver's node"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Questions to a node.

    Attributes:
        storage: Folder or URL of the sweeps, absolute; None where no file is given.
        marker: Name of what the driver wrote into it for the nodes to find, and its content.
        transport: ``group.checkpoint_transport``.
        is_quick: True where only versions, storage and limits are asked for.
        model: The model where its files are to be on every node; None for one from the Hub.
        data: Local files and folders of data, by the field that names them.
        hub_model: The model where it is a Hub's.
        asks_hub: True where something is downloaded from the Hub.
        needs_gpus: True where workers reserve GPUs.
        needs_vllm: True where vLLM decodes.
        needs_sandbox: True where benchmarks run code; None where that is not known.
        attention: ``model.attention``.
        dtype: ``model.dtype``.
        variables: Names of environment variables that hold a worker's secrets.
    """

    storage: str | None = None
    marker: str | None = None
    transport: CheckpointTransport = "auto"
    is_quick: bool = False
    model: ModelSpec | None = None
    data: Mapping[str, str] = field(default_factory=dict)
    hub_model: ModelSpec | None = None
    asks_hub: bool = True
    needs_gpus: bool = False
    needs_vllm: bool = False
    needs_sandbox: bool | None = None
    attention: str = "auto"
    dtype: str = "auto"
    variables: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class NodeFacts:
    """One node as it was found.

    Attributes:
        place: The node, for people.
        versions: Version by package, Python's and that of this package's code among them.
        open_files: Files that a process may have open.
        storage_problem: Reason why the storage cannot be used there; None where it can.
        sees_storage: True where the node finds what the driver wrote.
        num_gpus: GPUs that NVIDIA's driver shows.
        gpu_driver: Version of NVIDIA's driver; None without one.
        free_bytes: Free space by folder that is written to.
        shared_memory_bytes: Size of ``/dev/shm``; 0 without one.
        sandbox_problem: Reason why code cannot be run; None where it can.
        vllm_problem: Reason why there is no vLLM; None where there is.
        digests: Digests of files by field that names them.
        missing: Reason by field whose files are not there.
        hub_problem: Reason why the Hub does not answer; None where it does, or is not asked.
        has_hub_model: True where the Hub's model is here already.
        is_set: True by environment variable that has a value; never the value.
        clock_off_s: Seconds by which the node's clock is off the driver's at least; ahead above 0.
    """

    place: str
    versions: Mapping[str, str]
    open_files: int
    storage_problem: str | None = None
    sees_storage: bool = True
    num_gpus: int = 0
    gpu_driver: str | None = None
    free_bytes: Mapping[str, int] = field(default_factory=dict)
    shared_memory_bytes: int = 0
    sandbox_problem: str | None = None
    vllm_problem: str | None = None
    digests: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    hub_problem: str | None = None
    has_hub_model: bool = False
    is_set: Mapping[str, bool] = field(default_factory=dict)
    clock_off_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class DeviceFacts:
    """Parts of training as they were tried on one node, in a process of its own.

    Attributes:
        place: The node, for people.
        done: Result by part that works: ``torch``, ``bfloat16``, ``attention``, ``deepspeed`` and
            ``all-reduce``.
        problems: Reason by part that does not.
        is_gpu: True where a GPU was tried.
    """

    place: str
    done: Mapping[str, str] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)
    is_gpu: bool = False


@dataclass(frozen=True)
class Unreached:
    """A node that gave no answer.

    Attributes:
        place: The node, for people.
        reason: Why, in a line.
    """

    place: str
    reason: str
