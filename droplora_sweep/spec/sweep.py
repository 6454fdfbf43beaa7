"""Model of a sweep: a trial's defaults, the search over them, and where it runs."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, Field, model_validator

from .base import Count, PathText, Positive, SpecModel, broken_rule, variable_name
from .confirm import ConfirmSpec, with_examples_held_back
from .locations import ExperimentName, TrackingUri
from .metric_names import MEAN, likelihood_name, score_name
from .search import AUTO, SearchSpec
from .task import Name
from .trial import BUILTIN, TrialSpec

RESERVED_NAMES = ("mlartifacts", "mlflow.db")
"""Names of MLflow's store, which a storage folder holds beside its sweeps."""


def _check_name(name: str) -> str:
    if name in RESERVED_NAMES:
        raise broken_rule(f"must not be one of {', '.join(RESERVED_NAMES)}, got {name}")
    return name


SweepName = Annotated[Name, AfterValidator(_check_name)]


_INTERFACE = re.compile(r"[\w.@-]{1,15}", re.ASCII)


def _check_interface(name: str) -> str:
    if not _INTERFACE.fullmatch(name):
        raise broken_rule(
            "must be the name of one network interface, of at most 15 characters without spaces, "
            f"got {name!r}"
        )
    return name


InterfaceName = Annotated[str, AfterValidator(_check_interface)]
CheckpointTransport: TypeAlias = Literal["auto", "storage", "ray"]


class GroupSpec(SpecModel):
    """The workers that train one trial together, and live on to train the next."""

    num_workers: Count = 2
    """Workers of a group: one per GPU on a GPU cluster."""
    cpus_per_worker: Annotated[float, Field(gt=0)] = 1
    """CPUs Ray reserves for each worker; also its number of torch threads on CPU."""
    gpus_per_worker: Annotated[float, Field(ge=0, le=1)] = 0
    """GPUs of each worker: 1 on a GPU cluster, 0 trains on CPU, also where there are GPUs. A trial
    with more GPUs has more workers. With a share of a GPU, 0.5 for example, small models share one:
    so many groups of one worker each, with that share of its memory."""
    accelerator_type: Name | None = None
    """Kind of GPU on whose nodes the workers run, by the name that Ray has for it (``H100``,
    ``A100-80G``); any where null."""
    placement: Literal["pack", "strict_pack", "spread"] = "pack"
    """Nodes of a group's workers: ``pack`` takes as few as there is room for, ``strict_pack`` one,
    ``spread`` as many as there are. Workers exchange gradients at every step, within a node
    fastest."""
    network_interface: InterfaceName | None = None
    """Network interface of every node (``eth0``) through which the workers of a group reach each
    other, by gloo and NCCL; null leaves the choice to them, which may be wrong where a node has
    several networks."""
    max_groups: Count | None = None
    """At most this many groups; as many as the cluster has room for where null."""
    recycle_after: Count | None = None
    """Fresh processes after this many trials; 1 isolates every trial, null never recycles."""
    release_after_minutes: Positive | None = 5.0
    """A group without work for this many minutes ends, and its nodes are free for an autoscaler to
    take away; it starts again when there is work. One group stays. Null keeps all groups until the
    sweep ends. The default is five times what a start of a group was measured to take (10 to 75 s)
    besides the loading of a large model, and as long as Ray's autoscaler leaves a node idle."""
    wait_for_nodes_minutes: Annotated[float, Field(ge=0, le=1440)] = 15.0
    """Minutes that `run` waits for nodes to join a cluster that cannot hold one group yet, up to
    1440 (a day); 0 refuses at once. A group that an autoscaler with known limits can never make
    room for is refused at once in any case, and so is one on this machine alone. The default is the
    time that Ray's launcher gives a node to start."""
    canary: bool = True
    """Tries, before the first trial, what all trials do: on one group a step of the setting that
    needs most memory on the longest sequences, a checkpoint, and an example of each benchmark on
    every worker; where the search trains another model, the same of the confirmation's. Models and
    data are compared between nodes. A problem ends the run in a line, not hours later. ``false``
    goes without."""
    max_attempts: Count = 3
    """A trial that loses its group this often fails; the others continue."""
    halve_micro_batch_on_oom: bool = False
    """A trial that ran out of memory fails; where true it is tried again with half the
    ``training.micro_batch_size`` instead, down to 1, from its last checkpoint and with the same
    global batch. Masks and dropout then draw other numbers, so that is recorded with the trial."""
    silence_floor_s: Annotated[float, Field(ge=10)] = 300
    """A group that shows no progress within a training step for this many seconds, and for 10 times
    its own longest recent pause, is ended and started again; between steps (loading, evaluation,
    checkpoints) six times as many, and 3 times its longest pause there. A step takes seconds; raise
    it where one takes minutes."""
    checkpoint_transport: CheckpointTransport = "auto"
    """Way of checkpoints and adapters from a worker to the storage: ``storage`` (the worker writes
    there itself, and a sweep whose workers do not see a storage folder is refused), ``ray``
    (through Ray to the driver's node, which alone needs to see the storage), or ``auto``: each
    worker writes to a storage that its node sees, and else sends through Ray."""
    grace_s: Annotated[float, Field(ge=0)] = 25
    """Seconds that groups get to save their trials when the sweep is told to stop; what sends the
    signal may wait less (Kubernetes 30 s, `ray job stop` 3 s) before it kills."""


class CheckpointSpec(SpecModel):
    """Intervals at which a running trial is saved, so that another group can resume it.

    It is also saved when the sweep is interrupted or a node is about to be taken away; with
    neither interval, only then.
    """

    every_steps: Count | None = None
    """A checkpoint after this many optimiser steps."""
    every_minutes: Positive | None = 10.0
    """A checkpoint this many minutes after the last one: at most so much work is lost."""
    keep: Count = 2
    """So many checkpoints of a trial are kept: where the newest is damaged, the one before it."""


Outcome = Literal["complete", "interrupted", "failed"]


def _check_webhook(name: str) -> str:
    return variable_name(name, "the URL")


class NotifySpec(SpecModel):
    """Note on the end of a run of the sweep, with the answer in it, for those who do not watch."""

    command: tuple[Annotated[str, Field(min_length=1)], ...] = Field(default=(), strict=False)
    """Program and arguments, started without a shell where the driver runs. It reads the note, a
    JSON object with ``sweep``, ``outcome``, ``reason``, ``answer``, ``text`` and more, from its
    standard input, and has 60 seconds."""
    webhook_env: Annotated[str, AfterValidator(_check_webhook)] | None = None
    """Environment variable of the driver that holds the URL of a webhook, which is a secret. The
    same JSON is posted there; chat services show its ``text``."""
    on: tuple[Outcome, ...] = Field(default=("complete", "failed"), strict=False)
    """Ends to tell of: ``complete``, ``interrupted`` (a resumed run tells of its own end), or
    ``failed``."""


class TrackingSpec(SpecModel):
    """MLflow server that shows the results, and a note on the end."""

    mlflow_uri: TrackingUri | None = None
    """MLflow tracking server (``http://HOST:5000``) or database (``sqlite:///FILE.db``); a sqlite
    store under the sweep's storage where null."""
    experiment: ExperimentName | None = None
    """MLflow experiment of the sweep's runs; all sweeps of one task are side by side in
    ``droplora/<task.name>`` where null."""
    notify: NotifySpec = NotifySpec()


class SweepSpec(TrialSpec):
    """One search-space file: the fields of a trial are the defaults that the search varies."""

    name: SweepName
    """Names the sweep in storage and in MLflow."""
    search: SearchSpec = SearchSpec()
    confirm: ConfirmSpec | None = None
    """Confirmation after the search; null: none, and decisions are exploratory."""
    group: GroupSpec = GroupSpec()
    checkpoint: CheckpointSpec = CheckpointSpec()
    tracking: TrackingSpec = TrackingSpec()
    storage: PathText = "results"
    """Folder or URL (``s3://``, ``gs://``, ``file://``) of every sweep's ledger and adapters. The
    MLflow store is in the folder; with a URL, in the driver's cache."""

    @model_validator(mode="before")
    @classmethod
    def _hold_examples_back(cls, data: Any) -> Any:
        return with_examples_held_back(data)

    @model_validator(mode="after")
    def _choose_metric(self) -> SweepSpec:
        """Say what ``search.metric: auto`` is here."""
        if self.search.metric != AUTO:
            return self
        is_given = "likelihood" in self.evaluation.model_fields_set
        needs_score = self.search.objectives or self.search.budget.target_score is not None
        if needs_score or (is_given and not self.evaluation.likelihood):
            return self._with("search", metric=score_name(MEAN))
        self._with("search", metric=likelihood_name(MEAN))
        self._with("evaluation", likelihood=True)
        if self.confirm is not None and "finalists" not in self.confirm.model_fields_set:
            self._with("confirm", finalists="likelihood")
        return self

    @model_validator(mode="after")
    def _choose_dtype(self) -> SweepSpec:
        """Say what ``model.dtype`` is where it is left to this package."""
        if self.model.dtype != "auto" and "dtype" in self.model.model_fields_set:
            return self
        is_fast = self.group.gpus_per_worker > 0 and self.model.path != BUILTIN
        return self._with("model", dtype="bfloat16" if is_fast else "float32")

    def _with(self, section: str, **fields: Any) -> SweepSpec:
        before = getattr(self, section)
        chosen = before.model_copy(update=fields)
        # What is chosen here is not what was given.
        chosen.model_fields_set.intersection_update(before.model_fields_set)
        # The model is frozen for everyone but its validator.
        object.__setattr__(self, section, chosen)
        return self

    @property
    def trial(self) -> TrialSpec:
        """The trial that has every default."""
        return TrialSpec(**{name: getattr(self, name) for name in TrialSpec.model_fields})
