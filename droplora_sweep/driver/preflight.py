"""Everything that can be known to be wrong before anything is started."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from droplora_sweep.adapters.sizes import matched_modules, unmatched_targets
from droplora_sweep.errors import DropLoRASweepError, Fault, InputError
from droplora_sweep.evaluation.backend import choose_backend, has_vllm
from droplora_sweep.evaluation.code_runner import require_sandbox
from droplora_sweep.evaluation.context import check_contexts
from droplora_sweep.evaluation.held_out import HELD_OUT_TEXT, HeldOutText, read_held_out_text
from droplora_sweep.evaluation.judging import check_judge, judge_digests, with_absolute_files
from droplora_sweep.groups import room_for_workers, worker_needs
from droplora_sweep.models import inspect_model, require_quantization, resolve_model
from droplora_sweep.models.resolving import BUILTIN
from droplora_sweep.spec import dotted, is_hub_id, local_folder, possible_values
from droplora_sweep.spec.adapter import names
from droplora_sweep.spec.composition import (
    METHOD,
    MODULE_RATES,
    RANK,
    combinations,
    pruning_rates,
)
from droplora_sweep.spec.parameters import is_number
from droplora_sweep.spec.study_url import missing_driver
from droplora_sweep.tasks import load_task
from droplora_sweep.training.schedule import MIN_LORA_DROP_STEPS, num_steps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

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
    faults: list[Fault] = []
    model = _try(lambda: inspect_model(resolve_model(file.sweep.model).path), faults)
    _try(lambda: require_quantization(file.sweep.model), faults)
    faults += _study_driver(file.sweep.search.study)
    task = _try(lambda: load_task(file.sweep.task), faults)
    text_path = file.sweep.evaluation.held_out_text
    text = _try(lambda: text_path and read_held_out_text(text_path), faults) or None
    if task is not None and model is not None:
        faults += check_contexts(task, file.sweep.evaluation, model.context_tokens)
    if task is not None:
        faults += _sampling(file.sweep, len(task.training_examples()))
        faults += _validated(file.sweep, task)
        faults += _answers(file.sweep, task)
    faults += _backend(file.sweep)
    if model is not None:
        faults += check_adapter(file.sweep, model)
    if faults:
        raise file.locate(InputError(faults))
    assert task is not None
    assert model is not None
    return Prepared(file, _with_absolute_paths(file.sweep), task, model, text)


def _study_driver(url: str | None) -> Iterator[Fault]:
    package = missing_driver(url)
    if package is not None:
        problem = (
            f"must be without URL unless {package} is installed, got {url}; "
            "pip install 'droplora-sweep[postgresql]'"
        )
        yield Fault("", "search.study", problem)


def check_adapter(sweep: SweepSpec, model: ModelSummary) -> list[Fault]:
    """What the search space asks of the model's layers and they do not have."""
    if all(method == "full" for _, method in possible_values(METHOD, sweep)):
        return []
    target_modules = sweep.adapter.target_modules
    matched = matched_modules(model.shapes, target_modules)
    faults = []
    unmatched = unmatched_targets(model.shapes, target_modules)
    if unmatched:
        problem = (
            f"must match linear layers of the model, got {', '.join(unmatched)}, which match "
            f"none; it has {', '.join(_layer_names(model))}"
        )
        faults.append(Fault("", "adapter.target_modules", problem))
    if matched:
        faults += [*_ranks(sweep, matched), *_module_pruning_rates(sweep, matched)]
    return faults


def _sampling(sweep: SweepSpec, num_examples: int) -> Iterator[Fault]:
    """LoRA-drop samples before it drops layers, and then trains on."""
    decisive = (METHOD, "training.epochs", "training.global_batch_size")
    for fields in combinations(decisive, sweep):
        training = sweep.training.model_copy(
            update={
                path.removeprefix("training."): value
                for path, value in fields.items()
                if path in decisive[1:]
            }
        )
        steps = num_steps(num_examples, training)
        if fields[METHOD] == "lora_drop" and steps < MIN_LORA_DROP_STEPS:
            problem = (
                f"must give at least {MIN_LORA_DROP_STEPS} optimiser steps with `method: "
                f"lora_drop`, which samples before it drops layers, got {training.epochs}, which "
                f"with `global_batch_size: {training.global_batch_size}` gives {steps}"
            )
            yield Fault("", "training.epochs", problem)
            return


def _ranks(sweep: SweepSpec, matched: Mapping[str, tuple[int, int]]) -> Iterator[Fault]:
    """B A has at most the rank of the smallest weight it is added to."""
    layer = min(matched, key=lambda name: min(matched[name]))
    largest = min(matched[layer])
    used = {
        fields[RANK] for fields in combinations((METHOD, RANK), sweep) if fields[METHOD] != "full"
    }
    for place, rank in possible_values(RANK, sweep):
        if is_number(rank) and rank > largest and rank in used:
            num_out, num_in = matched[layer]
            problem = (
                f"must be at most {largest}, the smallest dimension of a layer with an adapter: "
                f"the weight of {layer} is {num_out} x {num_in}, got {rank}"
            )
            yield Fault("", dotted(place), problem)


def _module_pruning_rates(
    sweep: SweepSpec, matched: Mapping[str, tuple[int, int]]
) -> Iterator[Fault]:
    for path in pruning_rates(sweep):
        _, _, key = path.partition(f"{MODULE_RATES}.")
        if key and not any(names(key, module) for module in matched):
            known = dict.fromkeys(module.rpartition(".")[2] for module in matched)
            problem = (
                f"must be under the name of a layer with an adapter, got {key!r}; those are "
                f"{', '.join(known)}"
            )
            is_default = key in sweep.adapter.module_pruning_rates
            yield Fault("", path if is_default else f"search.parameters.{path}", problem)


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


def _with_absolute_paths(sweep: SweepSpec) -> SweepSpec:
    model, task, evaluation = sweep.model, sweep.task, sweep.evaluation
    if model.path != BUILTIN and not is_hub_id(model.path):
        model = model.model_copy(update={"path": str(local_folder(model.path).resolve())})
    specs = {
        name: spec.model_copy(update={"data": _absolute(spec.data)})
        for name, spec in task.benchmark_specs.items()
    }
    train = task.train and task.train.model_copy(update={"data": _absolute(task.train.data)})
    task = task.model_copy(
        update={"data": _absolute(task.data), "benchmark_specs": specs, "train": train}
    )
    if evaluation.judge is not None:
        judge = with_absolute_files(evaluation.judge)
        evaluation = evaluation.model_copy(update={"judge": judge})
    if evaluation.held_out_text is not None:
        text = str(local_folder(evaluation.held_out_text).resolve())
        evaluation = evaluation.model_copy(update={"held_out_text": text})
    return sweep.model_copy(update={"model": model, "task": task, "evaluation": evaluation})


def _absolute(data: str | None) -> str | None:
    if data is None:
        return None
    path = local_folder(data)
    return str(path.resolve()) if path.exists() or not is_hub_id(data) else data


def _validated(sweep: SweepSpec, task: Task) -> list[Fault]:
    """A search cannot choose on a benchmark that is tested alone."""
    tested_only = [f"val/{one.name}" for one in task.benchmarks if not one.validation]
    if sweep.search.metric not in tested_only:
        return []
    problem = f"must be of a benchmark with validation examples, got {sweep.search.metric!r}"
    return [Fault("", "search.metric", problem)]


def _answers(sweep: SweepSpec, task: Task) -> list[Fault]:
    """Benchmarks that need a section of ``evaluation``, and a section that needs benchmarks."""
    evaluation = sweep.evaluation
    if evaluation.sampling is not None and not any(
        one.scoring == "code" for one in task.benchmarks
    ):
        problem = "must be null where no benchmark is scored by running code, got "
        problem += f"{evaluation.sampling.num_samples} samples"
        return [Fault("", "evaluation.sampling", problem)]
    rated = [one for one in task.benchmarks if one.scoring == "judge"]
    if not rated:
        return []
    if evaluation.judge is None:
        problem = f"must be given for {rated[0].name}, which a judge rates, got null"
        return [Fault("", "evaluation.judge", problem)]
    examples = [example for one in rated for example in (*one.validation, *one.test())]
    return check_judge(examples, evaluation.judge)


def _backend(sweep: SweepSpec) -> list[Fault]:
    """Why vLLM, where it is asked for, cannot decode some trial."""
    has_gpu = sweep.group.gpus_per_worker > 0
    for _, method in possible_values(METHOD, sweep):
        adapter = sweep.adapter.model_copy(update={"method": method})
        _, problem = choose_backend(
            sweep.evaluation, sweep.model, adapter, is_installed=has_vllm(), has_gpu=has_gpu
        )
        if problem is not None:
            return [Fault("", "evaluation.backend", problem)]
    return []


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
