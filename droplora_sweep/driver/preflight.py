"""Everything that can be known to be wrong before anything is started."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from droplora_sweep.adapters.sizes import unmatched_targets
from droplora_sweep.errors import Fault, InputError
from droplora_sweep.groups import room_for_workers
from droplora_sweep.models import inspect_model, resolve_model
from droplora_sweep.models.resolving import BUILTIN
from droplora_sweep.spec import is_hub_id, local_folder
from droplora_sweep.tasks import load_task

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from droplora_sweep.models import ModelSummary
    from droplora_sweep.spec import SweepFile, SweepSpec
    from droplora_sweep.tasks import Task

T = TypeVar("T")


@dataclass(frozen=True)
class Prepared:
    """A sweep whose model and data are known to be there.

    Attributes:
        file: The valid file; still knows the line of each field.
        sweep: Its sweep with absolute paths: workers have working folders of their own.
        task: The task's data.
        model: Sizes of the base model.
    """

    file: SweepFile
    sweep: SweepSpec
    task: Task
    model: ModelSummary


def prepare(file: SweepFile) -> Prepared:
    """Find the model, load the task, and check one against the other; no torch, no Ray.

    Raises:
        InputError: With every fault, each at the line of its field.
    """
    faults: list[Fault] = []
    model = _try(lambda: inspect_model(resolve_model(file.sweep.model).path), faults)
    task = _try(lambda: load_task(file.sweep.task), faults)
    if model is not None:
        unmatched = unmatched_targets(model.shapes, file.sweep.adapter.target_modules)
        if unmatched:
            problem = (
                f"must match linear layers of the model, got {', '.join(unmatched)}, which match "
                f"none; it has {', '.join(_layer_names(model))}"
            )
            faults.append(Fault("", "adapter.target_modules", problem))
    if faults:
        raise file.locate(InputError(faults))
    assert task is not None
    assert model is not None
    return Prepared(file, _with_absolute_paths(file.sweep), task, model)


def check_room(file: SweepFile, nodes: Sequence[Mapping[str, float]]) -> None:
    """Refuse groups that the cluster can never hold.

    Raises:
        InputError: Fewer workers fit than one group has.
    """
    group = file.sweep.group
    room = room_for_workers(group, nodes)
    if room < group.num_workers:
        needs = f"{group.cpus_per_worker:g} CPU"
        if group.gpus_per_worker:
            needs += f" and {group.gpus_per_worker} GPU"
        problem = (
            f"must be at most {room}, as many workers of {needs} as the cluster can hold, "
            f"got {group.num_workers}"
        )
        raise file.locate(InputError([Fault("", "group.num_workers", problem)]))


def _with_absolute_paths(sweep: SweepSpec) -> SweepSpec:
    model, task = sweep.model, sweep.task
    if model.path != BUILTIN and not is_hub_id(model.path):
        model = model.model_copy(update={"path": str(local_folder(model.path).resolve())})
    if task.data is not None and not is_hub_id(task.data):
        task = task.model_copy(update={"data": str(local_folder(task.data).resolve())})
    return sweep.model_copy(update={"model": model, "task": task})


def _try(load: Callable[[], T], faults: list[Fault]) -> T | None:
    """The loaded value; None, with its faults added, where it is refused."""
    try:
        return load()
    except InputError as error:
        faults.extend(error.faults)
        return None


def _layer_names(model: ModelSummary) -> list[str]:
    """Last parts of the names of the model's matrices."""
    return sorted(
        {
            name.removesuffix(".weight").rpartition(".")[2]
            for name, shape in model.shapes.items()
            if len(shape) == 2
        }
    )
