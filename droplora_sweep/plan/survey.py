"""Survey of a sweep before it starts: its model, its data and every fault; no torch, no Ray."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from droplora_sweep.errors import DropLoRASweepError, Fault, InputError
from droplora_sweep.evaluation.context import check_contexts
from droplora_sweep.evaluation.held_out import HELD_OUT_TEXT, HeldOutText, read_held_out_text
from droplora_sweep.evaluation.judging.grading import judge_digests
from droplora_sweep.models.hub import OutOfReachError
from droplora_sweep.models.inspecting import inspect, published_models, require_quantization
from droplora_sweep.models.resolving import is_on_this_machine
from droplora_sweep.scorers.code_runner import require_sandbox
from droplora_sweep.spec import is_hub_id
from droplora_sweep.spec.at_fidelity import at_search_fidelity
from droplora_sweep.spec.fidelity import FidelitySpec
from droplora_sweep.spec.task import CHAT_TEMPLATE
from droplora_sweep.tasks.answers import check_golds, check_labels, check_own_scorers
from droplora_sweep.tasks.entries import published_task
from droplora_sweep.tasks.loading import load_task
from droplora_sweep.tasks.registry import BENCHMARKS
from droplora_sweep.tasks.task import split_sizes

from .absolute_paths import with_absolute_paths
from .as_loaded import is_recognised_by_names, look_at_loaded
from .chat import asks_by_chat, look_at_chat_template
from .requirements import (
    check_adapter,
    check_answers,
    check_backend,
    check_fidelity,
    check_judged,
    check_layer_numbers,
    check_lengths,
    check_optimizer,
    check_references,
    check_sampler_class,
    check_sampling,
    check_smaller,
    check_study_driver,
    check_validated,
    check_vocabulary,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from droplora_sweep.models.inspecting import ModelSummary
    from droplora_sweep.spec import ModelSpec, SweepFile, SweepSpec
    from droplora_sweep.tasks.task import Task

    from .as_loaded import AsLoaded
    from .chat import ChatTemplateFacts


T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Survey:
    """A sweep without a fault that can be seen from here.

    Attributes:
        file: The valid file; still knows the line of each field.
        sweep: Its sweep with absolute paths: workers have working folders of their own.
        model: Sizes of the base model; None where neither files nor published numbers tell.
        as_loaded: The model as transformers builds it; None where the names of its tensors tell.
        search_as_loaded: The same of the search's model.
        task: The task's data; None where only its published sizes are known.
        held_out: The text of ``evaluation.held_out_text``.
        splits: Examples of each benchmark and mixture by split.
        num_training_examples: Examples of a trial's training; of published sizes an upper bound.
        num_search_examples: The same of the search's trials, fewer at a lower fidelity.
        search_model: The model of the search's trials, another one at a lower fidelity.
        num_judged: Validation examples that a judge rates.
        chat: The chat template of the model, where ``task.prompt`` asks for it.
        search_chat: The same of the search's model.
        unchecked: Assumptions that only a run checks, one line each.
    """

    file: SweepFile
    sweep: SweepSpec
    model: ModelSummary | None
    task: Task | None
    held_out: HeldOutText | None
    splits: dict[str, dict[str, int]]
    num_training_examples: int
    num_search_examples: int
    search_model: ModelSummary | None
    num_judged: int
    unchecked: tuple[str, ...] = ()
    as_loaded: AsLoaded | None = None
    search_as_loaded: AsLoaded | None = None
    chat: ChatTemplateFacts | None = None
    search_chat: ChatTemplateFacts | None = None

    @property
    def data_notes(self) -> tuple[str, ...]:
        """Remarks on the data and on how it is rendered, one line each."""
        of_task = () if self.task is None else self.task.notes
        return (*of_task, *(() if self.chat is None else self.chat.notes()))

    def at_search_fidelity(self) -> Survey:
        """Return the survey of the sweep as its search trains it."""
        if self.sweep.search.fidelity is None:
            return self
        return replace(
            self,
            sweep=at_search_fidelity(self.sweep),
            num_training_examples=self.num_search_examples,
            model=self.search_model,
            as_loaded=self.search_as_loaded,
        )

    @property
    def confirm_work(self) -> float:
        """Training of a run of the confirmation, in that of a trial of the search: about.

        Examples times epochs times the model's parameters, where these are known.
        """
        searched = self.at_search_fidelity()
        full = self.num_training_examples * self.sweep.training.epochs
        ratio = full / (searched.num_training_examples * searched.sweep.training.epochs)
        if self.model is None or searched.model is None:
            return ratio
        return ratio * self.model.num_parameters / searched.model.num_parameters


def survey(file: SweepFile, *, may_lack_files: bool = True) -> Survey:
    """Find the model, load the task, and check one against the other.

    Args:
        file: A valid file.
        may_lack_files: Takes published sizes for a Hub model that is not here, which is then not
            downloaded, and for published benchmarks where ``task.data`` is null.

    Raises:
        InputError: With every fault, each at the line of its field.
    """
    spec = file.sweep
    faults: list[Fault] = []
    unchecked: list[str] = []
    find = known_model if may_lack_files else _read_model
    model = _attempt(lambda: find(spec.model, unchecked), faults)
    searched = at_search_fidelity(spec)
    has_another = searched.model != spec.model
    search_model = model
    if has_another:
        search_model = _attempt(
            lambda: find(searched.model, unchecked), faults, under="search.fidelity"
        )
    _attempt(lambda: require_quantization(spec.model), faults)
    faults += check_optimizer(spec)
    faults += check_study_driver(spec.search.study)
    _attempt(lambda: check_sampler_class(spec), faults)
    published = published_task(spec.task) if may_lack_files else None
    task = None if published else _attempt(lambda: load_task(spec.task), faults)
    text_path = spec.evaluation.held_out_text
    text = _attempt(lambda: text_path and read_held_out_text(text_path), faults) or None
    splits, num_training_examples, num_judged = {}, 0, 0
    if published is not None:
        splits, num_judged = published.splits, published.num_judged
        num_training_examples = published.num_training_examples
        unchecked.append(
            "task.data: not given, so the sizes are the published ones and no example was read; "
            "a run needs --set task.data=FOLDER"
        )
        faults += check_judged(spec, "this task" if num_judged else None)
        if spec.evaluation.judge is not None:
            unchecked.append("evaluation.judge: neither its files nor its key were looked for")
    if task is not None:
        splits, num_training_examples = split_sizes(task), len(task.training_examples())
        num_judged = sum(len(one.validation) for one in task.benchmarks if one.scorer.is_rated)
        faults += check_answers(spec, task)
        faults += check_references(spec, task)
        faults += check_golds(task, spec.evaluation.protocol, published=tuple(BENCHMARKS))
        faults += check_own_scorers(task, spec.evaluation.protocol)
        faults += check_labels(task)
    fidelity = spec.search.fidelity or FidelitySpec()
    num_searched = {
        name: fidelity.num_examples(sizes.get("train", 0)) for name, sizes in splits.items()
    }
    num_search_examples = sum(num_searched.values())
    if splits:
        faults += check_sampling(searched, num_search_examples)
        faults += check_fidelity(spec, splits, num_searched)
        faults += check_validated(spec, splits)
    faults += check_backend(spec)
    if spec.evaluation.backend == "vllm":
        unchecked.append(
            "evaluation.backend: vLLM was looked for on this machine; those of workers need it too"
        )
    as_loaded = None if model is None else _check_model(spec, model, task, faults)
    search_as_loaded = as_loaded
    if has_another and search_model is not None:
        found: list[Fault] = []
        search_as_loaded = _check_model(searched, search_model, task, found)
        faults += _under("search.fidelity", found)
        faults += check_smaller(searched.model.path, search_model, model)
    chat = _look_at_chat(spec, model, task, faults, unchecked)
    search_chat = chat
    if has_another:
        found_chat: list[Fault] = []
        search_chat = _look_at_chat(searched, search_model, task, found_chat, unchecked)
        faults += _under("search.fidelity", found_chat)
    if faults:
        raise file.locate(InputError(faults))
    return Survey(
        file=file,
        sweep=with_absolute_paths(spec, {} if task is None else task.pins),
        model=model,
        task=task,
        held_out=text,
        splits=splits,
        num_training_examples=num_training_examples,
        num_search_examples=num_search_examples,
        search_model=search_model,
        num_judged=num_judged,
        unchecked=tuple(unchecked),
        as_loaded=as_loaded,
        search_as_loaded=search_as_loaded,
        chat=chat,
        search_chat=search_chat,
    )


def _look_at_chat(
    spec: SweepSpec,
    model: ModelSummary | None,
    task: Task | None,
    faults: list[Fault],
    unchecked: list[str],
) -> ChatTemplateFacts | None:
    """Check the conversations against the model's chat template, where it is here."""
    if not asks_by_chat(spec):
        return None
    if model is None or model.path is None:
        unchecked.append(f"task.prompt: the chat template of {spec.model.path} was not read")
        return None
    is_chat = task is not None and task.is_chat
    return look_at_chat_template(spec, task if is_chat else None, faults)


def _check_model(
    spec: SweepSpec, model: ModelSummary, task: Task | None, faults: list[Fault]
) -> AsLoaded | None:
    """Check a model against what is trained of it and read by it; how transformers builds it."""
    as_loaded = None
    context, layers = model.context_tokens, None
    if wrong := list(check_layer_numbers(spec, model)):
        # An adapter of these layers cannot be attached.
        faults += wrong
        return None
    if model.path is not None and not is_recognised_by_names(spec, model):
        as_loaded = look_at_loaded(spec, model.path, model.shapes, faults)
        if as_loaded is not None:
            context, layers = as_loaded.context_tokens, as_loaded.layers
    if as_loaded is not None or model.path is None or is_recognised_by_names(spec, model):
        faults += check_adapter(spec, model, layers)
    if model.path is not None:
        faults += check_vocabulary(spec, model, as_loaded, task)
    if task is not None:
        faults += check_lengths(spec, model, task)
        faults += check_contexts(task, spec.evaluation, context)
    return as_loaded


def _under(section: str, faults: Iterable[Fault]) -> Iterator[Fault]:
    """Yield faults of the search's model, those of its path at the field that gives it."""
    for fault in faults:
        if fault.field.startswith("model."):
            yield replace(fault, field=f"{section}.{fault.field}")
        else:
            yield replace(fault, problem=f"{fault.problem} (in the model of `{section}`)")


def _read_model(spec: ModelSpec, unchecked: list[str]) -> ModelSummary | None:
    return inspect(spec)


def known_model(spec: ModelSpec, unchecked: list[str]) -> ModelSummary | None:
    """Inspect the model's files if they are here; else take it as published, or ask the Hub.

    Args:
        spec: The model.
        unchecked: List that a line is added to where something is taken as published or unknown.

    Returns:
        None where nothing is known of it.

    Raises:
        InputError: It is here and cannot be used.
    """
    published = published_models().get(spec.path) if is_hub_id(spec.path) else None
    if published is not None and not is_on_this_machine(spec):
        unchecked.append(
            f"model.path: {spec.path} is not on this machine, so its sizes are the published ones; "
            "a run downloads it, and checks the revision and the tokenizer"
        )
        return published
    try:
        return _read_model(spec, unchecked)
    except OutOfReachError as error:
        [fault] = error.faults
        unchecked.append(
            f"model.path: {fault.problem}; so its kind, layers, context, tokens and parameters are "
            "not known"
        )
        return None


def _attempt(load: Callable[[], T], faults: list[Fault], under: str = "") -> T | None:
    """Return what is loaded; None, with its faults added, where it is refused."""
    try:
        return load()
    except InputError as error:
        faults.extend(_under(under, error.faults) if under else error.faults)
        return None


@dataclass(frozen=True, kw_only=True)
class Prepared(Survey):
    """A survey whose model and data were read."""

    model: ModelSummary
    search_model: ModelSummary
    task: Task

    def data_digests(self) -> dict[str, str]:
        """Return the digests of splits, held-out text, the judge's files and chat templates."""
        text = {} if self.held_out is None else {HELD_OUT_TEXT: self.held_out.digest}
        judge = self.sweep.evaluation.judge
        judged = {} if judge is None else judge_digests(judge)
        return self.task.all_digests() | text | judged | self._chat_digests()

    def _chat_digests(self) -> dict[str, str]:
        """Return the digest of each chat template; {} of prompts that are plain text."""
        templates = {CHAT_TEMPLATE: self.chat, f"search/{CHAT_TEMPLATE}": self.search_chat}
        if self.search_chat == self.chat:
            del templates[f"search/{CHAT_TEMPLATE}"]
        return {name: one.digest for name, one in templates.items() if one is not None}


def prepare(file: SweepFile) -> Prepared:
    """Find the model, load the task, and check one against the other; no torch, no Ray.

    Raises:
        InputError: With every fault, each at the line of its field.
    """
    found = survey(file, may_lack_files=False)
    assert found.task is not None
    assert found.model is not None
    return Prepared(**vars(found))


def remote_code_note(sweep: SweepSpec) -> str | None:
    """Return a reminder for users who let the model's own code run; None for others."""
    if not sweep.model.trust_remote_code:
        return None
    return f"model.trust_remote_code is true: Python code that comes with {sweep.model.path} is run"


def check_sandbox(file: SweepFile, task: Task) -> None:
    """Refuse code benchmarks on a machine that has no sandbox for them, unless that is chosen.

    Raises:
        InputError: There is none; says why.
    """
    if not any(benchmark.scorer.runs_code for benchmark in task.benchmarks):
        return
    try:
        require_sandbox(allow_unsandboxed=file.sweep.evaluation.allow_unsandboxed_code)
    except DropLoRASweepError as error:
        raise file.locate(InputError.of("evaluation.allow_unsandboxed_code", str(error))) from error


def check_comparison(prepared: Prepared) -> None:
    """Refuse to compare scored options with generation where no options are scored.

    Raises:
        InputError: The file generates, or has no choice benchmark.
    """
    if prepared.sweep.evaluation.choice != "score":
        problem = "must be score with --compare-generation, got generate"
        raise prepared.file.locate(InputError.of("evaluation.choice", problem))
    if not any(one.scorer.closed_answers for one in prepared.task.benchmarks):
        problem = "must have one with `scoring: choice` with --compare-generation, got none"
        raise prepared.file.locate(InputError.of("task.benchmarks", problem))
