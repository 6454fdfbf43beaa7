"""Checks of what a sweep needs of its model, its data and this machine."""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import TYPE_CHECKING

from droplora_sweep.adapters.sizes import adapted_layers, unmatched_targets
from droplora_sweep.errors import Fault, InputError
from droplora_sweep.evaluation.judging.grading import check_judge
from droplora_sweep.evaluation.serving.backend import backend_problem, sampling_problem
from droplora_sweep.evaluation.serving.environment import environment_problem
from droplora_sweep.models.folders import special_token, tokens_beyond
from droplora_sweep.models.token_counts import count_tokens
from droplora_sweep.spec import OptunaSamplerSpec, dotted, possible_values
from droplora_sweep.spec.fidelity import MODEL_PATH, NUM_TRAIN
from droplora_sweep.spec.fields import get_field, with_fields
from droplora_sweep.spec.loading.messages import shown
from droplora_sweep.spec.locations import missing_driver
from droplora_sweep.spec.methods import method_of
from droplora_sweep.spec.metric_names import MEAN, is_likelihood, score_name, subject_of
from droplora_sweep.spec.parameters import is_number
from droplora_sweep.spec.rules.composition import (
    LAYERS,
    METHOD,
    MODULE_ALPHAS,
    MODULE_RANKS,
    MODULE_RATES,
    RANK,
    TARGETS,
    combinations,
    entries,
)
from droplora_sweep.spec.targets import (
    layer_number,
    longest_key,
    names,
    read_layers,
    read_targets,
)
from droplora_sweep.spec.trial import QUANTIZER
from droplora_sweep.training.schedule import num_steps

from .as_loaded import SEQUENCE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from droplora_sweep.models.inspecting import ModelSummary
    from droplora_sweep.spec import SweepSpec
    from droplora_sweep.tasks.task import Example, Task, TrainingSet

    from .as_loaded import AsLoaded


def check_adapter(
    sweep: SweepSpec, model: ModelSummary, layers: Mapping[str, tuple[int, int]] | None = None
) -> list[Fault]:
    """Return the faults of targets, ranks and pruning rates for the model's layers.

    Args:
        sweep: The sweep.
        model: The base model.
        layers: Shape (out, in) of each layer with an adapter, where adapters were attached; None
            where tensor names tell the layers.
    """
    if not any(method_of(str(name)).has_rank for _, name in possible_values(METHOD, sweep)):
        return []
    if layers is not None:
        return [*_of_layers(sweep, layers)] if layers else []
    faults = []
    for place, value in possible_values(TARGETS, sweep):
        unmatched = unmatched_targets(model.shapes, read_targets(value))
        if unmatched:
            problem = (
                f"must match linear layers of the model, got {', '.join(unmatched)}, which match "
                f"none; it has {', '.join(_layer_names(model))}"
            )
            faults.append(Fault("", dotted(place), problem))
    matched: dict[str, tuple[int, int]] = {}
    for fields in combinations((TARGETS, LAYERS), sweep):
        found = adapted_layers(model.shapes, with_fields(sweep.trial, fields).adapter)
        matched |= found
        if not found and not faults:
            problem = (
                "must leave layers that match `adapter.target_modules`, got "
                f"{shown(fields[LAYERS])} for {shown(fields[TARGETS])}"
            )
            faults.append(Fault("", LAYERS, problem))
    if matched:
        faults += _of_layers(sweep, matched)
    return faults


def check_layer_numbers(sweep: SweepSpec, model: ModelSummary) -> Iterator[Fault]:
    """Refuse numbers of layers that the model has not."""
    numbers = [number for name in model.shapes if (number := layer_number(name)) is not None]
    for place, value in possible_values(LAYERS, sweep):
        layers = read_layers(value)
        if isinstance(layers, tuple) and numbers and layers[-1] > max(numbers):
            problem = (
                f"must be numbers of the model's layers, 0 to {max(numbers)}, got {shown(value)}"
            )
            yield Fault("", dotted(place), problem)


def _of_layers(sweep: SweepSpec, layers: Mapping[str, tuple[int, int]]) -> Iterator[Fault]:
    yield from _ranks(sweep, layers)
    yield from _module_ranks(sweep, layers)
    for mapping in (MODULE_RATES, MODULE_RANKS, MODULE_ALPHAS):
        yield from _keys(mapping, sweep, layers)


def check_vocabulary(
    sweep: SweepSpec, model: ModelSummary, as_loaded: AsLoaded | None, task: Task | None
) -> list[Fault]:
    """Return the faults of tokens without an embedding, and of a tokenizer without end token."""
    assert model.path is not None
    num_embedded = _num_embedded(model) if as_loaded is None else as_loaded.num_embedded
    try:
        beyond = () if num_embedded is None else tokens_beyond(model.path, num_embedded)
        if special_token(model.path, "eos_token") is None:
            # Its class may have one, which only transformers knows; the import takes seconds.
            from droplora_sweep.models.loading import load_tokenizer

            load_tokenizer(sweep.model)
    except InputError as error:
        return list(error.faults)
    if task is None or not beyond:
        return []
    texts = (
        text
        for benchmark, example in task.training_examples()
        for text in (*_asked(benchmark, example), example.output)
    )
    for text in texts:
        for token in beyond:
            if token in text:
                problem = (
                    f"must have an embedding of every token of the data, got {model.path}, whose "
                    f"embedding has {num_embedded:,} rows and none of {token!r}"
                )
                return [Fault("", "model.path", problem)]
    return []


def _asked(source: TrainingSet, example: Example) -> list[str]:
    """Return the texts of an example's prompt; of a chat, those that no template adds to."""
    if not source.is_chat:
        return [source.render_prompt(example)]
    return [message.content for message in source.messages(example)]


def _num_embedded(model: ModelSummary) -> int | None:
    """Return the number of rows of the embedding in the model's files."""
    embeddings = (name for name in model.shapes if name.endswith("embed_tokens.weight"))
    name = next(embeddings, None)
    return None if name is None else model.shapes[name][0]


def check_lengths(sweep: SweepSpec, model: ModelSummary, task: Task) -> Iterator[Fault]:
    """Refuse a limit of tokens that leaves no training example.

    The shortest texts are counted first, so that one text is enough where some fit. A sequence has
    a token or two more where text joins across the border of prompt and response; a trial counts
    exactly. Conversations are counted as their template renders them (see ``chat``).

    Args:
        sweep: The sweep.
        model: The base model; of one that is not here, or has no ``tokenizer.json``, nothing is
            known.
        task: The task's data.
    """
    if task.is_chat:
        return
    texts = [
        source.render_prompt(example) + example.output
        for source, example in task.training_examples()
        if example.output.strip()
    ]
    counts = None if model.path is None else count_tokens(model.path, sorted(texts, key=len))
    if counts is not None and texts:
        yield from too_short(sweep, counts, len(texts))


def too_short(sweep: SweepSpec, lengths: Iterable[int], num_examples: int) -> Iterator[Fault]:
    """Yield limits of tokens that leave no training example.

    Args:
        sweep: Gives the limits.
        lengths: Tokens of each example that are needed at least; asked for until one fits.
        num_examples: Number of all examples, for the message.
    """
    limits = [
        (place, limit) for place, limit in possible_values(SEQUENCE, sweep) if is_number(limit)
    ]
    lowest, shortest = min(limit for _, limit in limits), math.inf
    for number in lengths:
        shortest = min(shortest, number)
        if shortest <= lowest:
            return
    for place, limit in limits:
        if limit < shortest:
            problem = (
                f"must leave some of {num_examples:,} training examples, the shortest of which has "
                f"{shortest:,} tokens, got {limit:g}"
            )
            yield Fault("", dotted(place), problem)


def check_sampling(sweep: SweepSpec, num_examples: int) -> Iterator[Fault]:
    """Refuse trials of fewer steps than their method needs."""
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
        method = method_of(str(fields[METHOD]))
        if steps < method.min_steps:
            problem = (
                f"must give at least {method.min_steps} optimiser steps with `method: "
                f"{method.name}`, which {method.min_steps_reason}, got {training.epochs}, which "
                f"with `global_batch_size: {training.global_batch_size}` gives {steps}"
            )
            yield Fault("", "training.epochs", problem)
            return


MIN_FIDELITY_EXAMPLES = 10
"""Training examples of a benchmark below which a search at low fidelity says nothing of it."""


def check_fidelity(
    sweep: SweepSpec, splits: Mapping[str, Mapping[str, int]], num_searched: Mapping[str, int]
) -> Iterator[Fault]:
    """Refuse a search on too few examples of a benchmark to say anything of it.

    Args:
        sweep: The sweep.
        splits: Examples of each benchmark and mixture by split.
        num_searched: Of them, those that a trial of the search trains on.
    """
    fidelity = sweep.search.fidelity
    for name, number in num_searched.items():
        whole = splits[name].get("train", 0)
        if fidelity is not None and number < min(MIN_FIDELITY_EXAMPLES, whole):
            problem = (
                f"must leave at least {MIN_FIDELITY_EXAMPLES} training examples of each benchmark, "
                f"got {fidelity.num_train}: {number} of the {whole} of {name}"
            )
            yield Fault("", f"search.fidelity.{NUM_TRAIN}", problem)


def check_smaller(
    path: str, searched: ModelSummary, confirmed: ModelSummary | None
) -> Iterator[Fault]:
    """Refuse a search on a model that is no smaller than the confirmation's.

    Args:
        path: The search's model as the file gives it.
        searched: The same.
        confirmed: The confirmation's model; None where it is not known.
    """
    if confirmed is not None and searched.num_parameters >= confirmed.num_parameters:
        problem = (
            "must be a smaller model than `model.path`, which has "
            f"{confirmed.num_parameters:,} parameters, got {path} with {searched.num_parameters:,}"
        )
        yield Fault("", f"search.fidelity.{MODEL_PATH}", problem)


def check_optimizer(sweep: SweepSpec) -> Iterator[Fault]:
    """Refuse AdamW in 8 bits where bitsandbytes is not installed; on CPUs it works too."""
    for place, value in possible_values("training.optimizer", sweep):
        if value == "adamw_8bit" and find_spec(QUANTIZER) is None:
            problem = (
                f"must be adamw where bitsandbytes is not installed, got {value}: "
                "pip install 'droplora-sweep[quantization]'"
            )
            yield Fault("", dotted(place), problem)


def check_study_driver(url: str | None) -> Iterator[Fault]:
    """Refuse a study in a database whose client is not installed."""
    package = missing_driver(url)
    if package is not None:
        problem = (
            f"must be without URL unless {package} is installed, got {url}; "
            "pip install 'droplora-sweep[postgresql]'"
        )
        yield Fault("", "search.study", problem)


def check_sampler_class(sweep: SweepSpec) -> None:
    """Try a sampler that is given by its class.

    Raises:
        InputError: It cannot be built, or cannot draw trials of this search.
    """
    if isinstance(sweep.search.sampler, OptunaSamplerSpec):
        # Optuna takes a second to import, which other files need not wait for.
        from droplora_sweep.search.sampler_class import check_sampler

        check_sampler(sweep)


def check_validated(sweep: SweepSpec, splits: Mapping[str, Mapping[str, int]]) -> list[Fault]:
    """Refuse to search on a benchmark that has no validation examples."""
    tested_only = [name for name, sizes in splits.items() if not sizes.get("validation")]
    if subject_of(sweep.search.metric) not in tested_only:
        return []
    problem = f"must be of a benchmark with validation examples, got {sweep.search.metric!r}"
    return [Fault("", "search.metric", problem)]


def check_references(sweep: SweepSpec, task: Task) -> list[Fault]:
    """Refuse to search by the likelihood of references where there are none."""
    metric = sweep.search.metric
    subject = subject_of(metric)
    has_references = any(
        example.output.strip()
        for benchmark in task.benchmarks
        if subject in (benchmark.name, MEAN) and not benchmark.scorer.is_rated
        for example in benchmark.validation
    )
    if not is_likelihood(metric) or has_references:
        return []
    problem = (
        f"must be of a benchmark whose examples have reference responses, got {metric!r}; "
        f"{score_name(subject)} follows the score"
    )
    return [Fault("", "search.metric", problem)]


def check_answers(sweep: SweepSpec, task: Task) -> list[Fault]:
    """Return the faults of benchmarks without their section of ``evaluation``, and vice versa."""
    evaluation = sweep.evaluation
    if evaluation.sampling is not None and not any(one.scorer.runs_code for one in task.benchmarks):
        problem = "must be null where no benchmark is scored by running code, got "
        problem += f"{evaluation.sampling.num_samples} samples"
        return [Fault("", "evaluation.sampling", problem)]
    rated = [one for one in task.benchmarks if one.scorer.is_rated]
    missing = check_judged(sweep, rated[0].name if rated else None)
    if missing or not rated or evaluation.judge is None:
        return missing
    examples = [example for one in rated for example in (*one.validation, *one.test())]
    return check_judge(examples, evaluation.judge)


def check_judged(sweep: SweepSpec, rated: str | None) -> list[Fault]:
    """Refuse conversations without a judge; ``rated`` names what has them, None for nothing."""
    if rated is None or sweep.evaluation.judge is not None:
        return []
    problem = f"must be given for {rated}, which a judge rates, got null"
    return [Fault("", "evaluation.judge", problem)]


def check_backend(sweep: SweepSpec) -> list[Fault]:
    """Refuse vLLM where it cannot decode some trial."""
    on_gpu = sweep.group.gpus_per_worker > 0
    if (problem := sampling_problem(sweep.evaluation, on_gpu=on_gpu)) is not None:
        return [Fault("", "evaluation.backend", problem)]
    for _, method in possible_values(METHOD, sweep):
        adapter = sweep.adapter.model_copy(update={"method": method})
        problem = backend_problem(
            sweep.evaluation,
            sweep.model,
            adapter,
            missing=environment_problem(),
            on_gpu=on_gpu,
        )
        if problem is not None:
            return [Fault("", "evaluation.backend", problem)]
    return []


def _ranks(sweep: SweepSpec, matched: Mapping[str, tuple[int, int]]) -> Iterator[Fault]:
    """Refuse ranks above the smallest dimension of a weight with an adapter."""
    common = [name for name in matched if longest_key(sweep.adapter.module_ranks, name) is None]
    if not common:
        return
    layer = min(common, key=lambda name: min(matched[name]))
    largest = min(matched[layer])
    used = {
        fields[RANK]
        for fields in combinations((METHOD, RANK), sweep)
        if method_of(str(fields[METHOD])).has_rank
    }
    for place, rank in possible_values(RANK, sweep):
        if is_number(rank) and rank > largest and rank in used:
            yield _too_high(dotted(place), rank, layer, matched[layer])


def _module_ranks(sweep: SweepSpec, matched: Mapping[str, tuple[int, int]]) -> Iterator[Fault]:
    for path in entries(MODULE_RANKS, sweep):
        named = [name for name in matched if names(path.removeprefix(f"{MODULE_RANKS}."), name)]
        for place, rank in possible_values(path, sweep):
            low = [name for name in named if is_number(rank) and rank > min(matched[name])]
            if low and is_number(rank):
                yield _too_high(dotted(place), rank, low[0], matched[low[0]])


def _too_high(field: str, rank: int | float, layer: str, shape: tuple[int, int]) -> Fault:
    num_out, num_in = shape
    problem = (
        f"must be at most {min(shape)}, the smallest dimension of a layer with an adapter: "
        f"the weight of {layer} is {num_out} x {num_in}, got {rank}"
    )
    return Fault("", field, problem)


def _keys(
    mapping: str, sweep: SweepSpec, matched: Mapping[str, tuple[int, int]]
) -> Iterator[Fault]:
    """Refuse keys of a mapping by module that name no layer with an adapter."""
    for path in entries(mapping, sweep):
        key = path.removeprefix(f"{mapping}.")
        if not any(names(key, module) for module in matched):
            known = dict.fromkeys(module.rpartition(".")[2] for module in matched)
            problem = (
                f"must be under the name of a layer with an adapter, got {key!r}; those are "
                f"{', '.join(known)}"
            )
            is_default = get_field(sweep.trial, path) is not None
            yield Fault("", path if is_default else f"search.parameters.{path}", problem)


def _layer_names(model: ModelSummary) -> list[str]:
    """Return the last parts of the names of the model's matrices."""
    return sorted(
        {
            name.removesuffix(".weight").rpartition(".")[2]
            for name, shape in model.shapes.items()
            if len(shape) == 2
        }
    )
