"""From what a user has to a search space that is valid, fits the hours, and says why."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from droplora_sweep.errors import Fault, InputError
from droplora_sweep.evaluation.prompting import ChatPrompts
from droplora_sweep.files import write_new
from droplora_sweep.models.token_counts import count_tokens
from droplora_sweep.plan.costs.work import ASSUMED_UTILISATION, GPUS
from droplora_sweep.plan.plan_costs import Assumed, plan_costs
from droplora_sweep.plan.survey import known_model, survey
from droplora_sweep.present.values import format_bytes, format_count
from droplora_sweep.spec import ModelSpec, TaskSpec, load_sweep_file
from droplora_sweep.tasks.loading import load_task

from .choices import (
    Lengths,
    Sizes,
    Steps,
    learning_rates,
    lengths_for,
    ranks_for,
    sizes_for,
    sizes_with,
    steps_for,
)
from .drafting import EVALUATION_BATCH, Devices, Draft, draft_text
from .effort import affordable, device_hours, efforts
from .own_data import BUILTIN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from droplora_sweep.models.inspecting import ModelSummary
    from droplora_sweep.plan.plan_costs import Costs
    from droplora_sweep.plan.survey import Survey
    from droplora_sweep.tasks.task import Example, Task, TrainingSet

    from .own_data import OwnData

FILE: Final = "FILE"
_OPTIONS: Final = {"model": "--model", "task": "--data"}
"""Option that a user gives for a section of the file."""
_MAX_LOOKED_AT: Final = 2_000
"""Examples whose tokens are counted."""
_CHARACTERS_PER_TOKEN: Final = 3
"""Of English text about four; where no tokenizer is here, more tokens are reckoned with."""
_QUICKSTART_SIZES: Final = Sizes(48, 120)
_QUICKSTART_STEPS: Final = Steps(32, 12, 48)


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """Things that a user has: model, data, devices and hours.

    Attributes:
        model: ``builtin``, a folder or a Hub id.
        revision: Commit of a Hub id.
        data: The data, as `look_at_data` found it.
        devices: GPUs or CPUs, and hours.
        name: Name of the sweep; by the data where None.
    """

    model: str
    revision: str | None
    data: OwnData
    devices: Devices
    name: str | None = None


def write_search_space(wishes: Wishes, file: Path) -> Draft:
    """Write a search space to a new file that passes `validate` and `plan`.

    Raises:
        InputError: The file is there already; or the model, the data or the hours cannot be used.
    """
    if file.exists():
        raise InputError.of(FILE, f"must be new, got {file}, which exists")
    draft = _fitted(_first_draft(wishes))
    write_new(file, draft_text(draft, file), FILE)
    return draft


def _first_draft(wishes: Wishes) -> Draft:
    """Choose all but what depends on costs.

    Raises:
        InputError: The model or the data cannot be used.
    """
    data, devices = wishes.data, wishes.devices
    try:
        model = known_model(ModelSpec(path=wishes.model, revision=wishes.revision), [])
        is_builtin = data.name == BUILTIN
        sizes = _QUICKSTART_SIZES if is_builtin else sizes_for(list(data.amounts.values()))
        task = load_task(TaskSpec.model_validate({**data.task, **_size_fields(sizes)}))
    except InputError as error:
        raise _of_options(error) from error
    steps = _QUICKSTART_STEPS if is_builtin else steps_for(len(task.training_examples()))
    return Draft(
        name=wishes.name or data.name,
        model=wishes.model,
        revision=wishes.revision,
        model_text=_model_text(model),
        data=data,
        devices=devices,
        sizes=sizes,
        steps=steps,
        lengths=_lengths(task, model),
        rates=learning_rates(model),
        ranks=ranks_for(model),
        effort=efforts(len(data.benchmarks))[-1],
        micro_batch_size=min(16 if devices.num_gpus else 8, steps.global_batch_size),
    )


def _fitted(draft: Draft) -> Draft:
    """Return the draft with settings that fit into memory, and runs that fit into the hours.

    Raises:
        InputError: Nothing fits into the hours.
    """
    found = _survey(draft)
    draft, costs = _in_memory(draft, found)
    gpu = None if draft.devices.gpu is None else GPUS[draft.devices.gpu]
    numbers = [sizes.get("train", 0) for sizes in found.splits.values()]
    effort = affordable(
        None if costs is None else device_hours(costs.flops, gpu),
        draft.devices.hours,
        num_devices=draft.devices.number,
        num_benchmarks=len(draft.data.benchmarks),
        numbers=numbers,
        steps=draft.steps,
    )
    draft = replace(draft, effort=effort)
    if (shorter := effort.shorter) is not None:
        micro = min(draft.micro_batch_size, shorter.steps.global_batch_size)
        draft = replace(draft, steps=shorter.steps, micro_batch_size=micro)
        # Examples that are not trained on can be scored where they come from one file.
        in_one_file = all(one.num_validation == 0 for one in draft.data.amounts.values())
        if shorter.num_train is not None and in_one_file:
            spare = min(numbers) - shorter.num_train
            draft = replace(draft, sizes=sizes_with(spare, draft.sizes))
    _survey(draft)
    return draft


def _survey(draft: Draft) -> Survey:
    """Check a draft as `validate` and `plan` do.

    Raises:
        InputError: It has a fault, which is one of the options.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "draft.yaml"
        file.write_text(draft_text(draft, file), encoding="utf-8")
        try:
            return survey(load_sweep_file(file, needs_data=False))
        except InputError as error:
            raise _of_options(error) from error


def _of_options(error: InputError) -> InputError:
    """Return faults of a draft as faults of what the user gave."""
    faults = []
    for fault in error.faults:
        if fault.field.startswith("--"):
            faults.append(fault)
            continue
        option = _OPTIONS.get(fault.field.partition(".")[0])
        problem = fault.problem if option else f"{fault.field}: {fault.problem}"
        faults.append(Fault("", option or FILE, problem))
    return InputError(faults)


def _in_memory(draft: Draft, found: Survey) -> tuple[Draft, Costs | None]:
    """Return the draft with the largest micro-batch that fits into a GPU, and its costs."""
    gpu = None if draft.devices.gpu is None else GPUS[draft.devices.gpu]
    assumed = Assumed(gpu, None, ASSUMED_UTILISATION)
    costs = None
    for micro_batch_size, is_checkpointed in _memory_steps(draft.micro_batch_size):
        share = micro_batch_size / draft.micro_batch_size
        changed = replace(
            draft,
            micro_batch_size=micro_batch_size,
            gradient_checkpointing=is_checkpointed,
            evaluation_batch_size=max(1, int(EVALUATION_BATCH * share)),
        )
        training = {
            "micro_batch_size": changed.micro_batch_size,
            "gradient_checkpointing": changed.gradient_checkpointing,
        }
        evaluation = {"batch_size": changed.evaluation_batch_size}
        sweep = found.sweep.model_copy(
            update={
                "training": found.sweep.training.model_copy(update=training),
                "evaluation": found.sweep.evaluation.model_copy(update=evaluation),
            }
        )
        costs = plan_costs(replace(found, sweep=sweep), [], assumed)
        if costs is None or costs.misfit is None:
            return changed, costs
    # Nothing fits: `plan` says how much is missing.
    return draft, costs


def _memory_steps(largest: int) -> Iterator[tuple[int, bool]]:
    for is_checkpointed in (False, True):
        size = largest
        while size >= 1:
            yield size, is_checkpointed
            size //= 2


def _size_fields(sizes: Sizes) -> Mapping[str, Any]:
    return {
        "num_validation": sizes.num_validation,
        "num_confirmation": sizes.num_confirmation,
    }


def _lengths(task: Task, model: ModelSummary | None) -> Lengths:
    """Return limits by the tokens of the training examples, spread over all of them."""
    examples = task.training_examples()
    some = examples[:: -(-len(examples) // _MAX_LOOKED_AT)]
    outputs = [example.output for _, example in some]
    context = None if model is None else model.context_tokens
    folder = None if model is None else model.path
    if task.is_chat and folder is not None:
        return _chat_lengths(some, outputs, folder, context)
    wholes = [source.render_prompt(example) + example.output for source, example in some]
    counted = None if folder is None else count_tokens(folder, [*wholes, *outputs])
    if counted is None:
        numbers = [len(text) // _CHARACTERS_PER_TOKEN + 2 for text in (*wholes, *outputs)]
    else:
        numbers = list(counted)
    return lengths_for(numbers[: len(some)], numbers[len(some) :], context)


def _chat_lengths(
    some: Sequence[tuple[TrainingSet, Example]],
    outputs: Sequence[str],
    folder: Path,
    context: int | None,
) -> Lengths:
    """Return limits by whole conversations, as the model's chat template renders them."""
    # Conversations alone need transformers here; the import takes seconds.
    from droplora_sweep.models.loading import load_tokenizer

    prompts = ChatPrompts(load_tokenizer(ModelSpec(path=str(folder))))
    encoded = prompts.encode(some, "all_turns")
    wholes = [len(one.tokens) for one in encoded if one is not None]
    responses = count_tokens(folder, outputs)
    if responses is None:
        responses = iter([one.num_response_tokens for one in encoded if one is not None])
    return lengths_for(wholes, list(responses), context)


def _model_text(model: ModelSummary | None) -> str:
    if model is None:
        return "not on this machine: it is checked when the sweep starts"
    parameters = format_count(model.num_parameters)
    return f"{model.architecture}, {parameters} parameters, {format_bytes(model.weight_bytes)}"
