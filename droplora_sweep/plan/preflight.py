"""Everything that can be known to be wrong before anything is started."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from droplora_sweep.errors import DropLoRASweepError, Fault, InputError
from droplora_sweep.evaluation.code_runner import require_sandbox
from droplora_sweep.evaluation.held_out import HELD_OUT_TEXT, HeldOutText
from droplora_sweep.evaluation.judging import judge_digests
from droplora_sweep.groups import room_for_workers, worker_needs

from .survey import survey

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from droplora_sweep.models import ModelSummary
    from droplora_sweep.spec import GroupSpec, SweepFile, SweepSpec
    from droplora_sweep.tasks import Task


@dataclass(frozen=True)
class Prepared:
    """A sweep whose model and data are known to be there.

    Attributes:
        file: The valid file; still knows the line of each field.
        sweep: Its sweep with absolute paths: workers have working folders of their own.
        task: The task's data.
        model: Sizes of the base model.
        held_out: The text of ``evaluation.held_out_text``.
    """

    file: SweepFile
    sweep: SweepSpec
    task: Task
    model: ModelSummary
    held_out: HeldOutText | None = None

    def data_digests(self) -> dict[str, str]:
        """Digest of each split, test included, of the held-out text and the judge's files."""
        text = {} if self.held_out is None else {HELD_OUT_TEXT: self.held_out.digest}
        judge = self.sweep.evaluation.judge
        judged = {} if judge is None else judge_digests(judge)
        return self.task.all_digests() | text | judged


def prepare(file: SweepFile) -> Prepared:
    """Find the model, load the task, and check one against the other; no torch, no Ray.

    Raises:
        InputError: With every fault, each at the line of its field.
    """
    found = survey(file, may_lack_files=False)
    assert found.task is not None
    assert found.model is not None
    return Prepared(file, found.sweep, found.task, found.model, found.held_out)


def remote_code_note(sweep: SweepSpec) -> str | None:
    """What a user who lets the model's own code run should be reminded of; None for others."""
    if not sweep.model.trust_remote_code:
        return None
    return f"model.trust_remote_code is true: Python code that comes with {sweep.model.path} is run"


def check_sandbox(file: SweepFile, task: Task) -> None:
    """Refuse code benchmarks on a machine that has no sandbox for them, unless that is chosen.

    Raises:
        InputError: There is none; says why.
    """
    if not any(benchmark.scoring == "code" for benchmark in task.benchmarks):
        return
    try:
        require_sandbox(allow_unsandboxed=file.sweep.evaluation.allow_unsandboxed_code)
    except DropLoRASweepError as error:
        raise file.locate(
            InputError([Fault("", "evaluation.allow_unsandboxed_code", str(error))])
        ) from error


def check_comparison(prepared: Prepared) -> None:
    """Refuse to compare scored options with generation where no options are scored.

    Raises:
        InputError: The file generates, or has no choice benchmark.
    """
    if prepared.sweep.evaluation.choice != "score":
        problem = "must be score with --compare-generation, got generate"
        raise prepared.file.locate(InputError([Fault("", "evaluation.choice", problem)]))
    if not any(one.scoring == "choice" for one in prepared.task.benchmarks):
        problem = "must have one with `scoring: choice` with --compare-generation, got none"
        raise prepared.file.locate(InputError([Fault("", "task.benchmarks", problem)]))


NO_GPUS_HERE = (
    "group: these nodes have no GPU and its workers need some, so room for groups was not checked; "
    "name the cluster with --address"
)


def lacks_gpus_at_all(group: GroupSpec, nodes: Sequence[Mapping[str, float]]) -> bool:
    """Whether the nodes are not those of a cluster that the sweep was written for."""
    return group.gpus_per_worker > 0 and not any(node.get("GPU") for node in nodes)


def check_room(file: SweepFile, nodes: Sequence[Mapping[str, float]]) -> None:
    """Refuse groups that the cluster can never hold.

    Raises:
        InputError: Fewer workers fit than one group has.
    """
    group = file.sweep.group
    room = room_for_workers(group, nodes)
    if room < group.num_workers:
        problem = (
            f"must be at most {room}, as many workers of {worker_needs(group)} as the cluster can "
            f"hold, got {group.num_workers}"
        )
        raise file.locate(InputError([Fault("", "group.num_workers", problem)]))
