"""Model of a task: a training mixture, a validation split and named benchmarks, all of it data."""

from __future__ import annotations

import difflib
import re
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from droplora_sweep import plugins
from droplora_sweep.scorers.corpus_metrics import CORPUS_METRICS
from droplora_sweep.scorers.harness import PREFIX as HARNESS_PREFIX
from droplora_sweep.scorers.own import COMMAND, is_place
from droplora_sweep.scorers.scorer import Direction
from droplora_sweep.scorers.table import SCORERS, unknown_scoring

from .base import Count, PathText, Positive, SpecModel, broken_rule
from .locations import is_url

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
"""Names folders and MLflow experiments, so it holds no slash and no space."""


def _check_scoring(name: str) -> str:
    if problem := unknown_scoring(name):
        raise broken_rule(problem)
    return name


def _check_metric(name: str) -> str:
    if name not in CORPUS_METRICS:
        near = difflib.get_close_matches(name, CORPUS_METRICS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise broken_rule(f"must be {', '.join(map(repr, CORPUS_METRICS))}, got {name!r}{hint}")
    return name


Scoring: TypeAlias = Annotated[str, AfterValidator(_check_scoring), Field(examples=[*SCORERS])]
"""Name of a scorer; see ``BenchmarkSpec.scoring``."""

MetricName: TypeAlias = Annotated[
    str, AfterValidator(_check_metric), Field(examples=[*CORPUS_METRICS])
]
"""Name of a corpus metric; see ``BenchmarkSpec.metrics``."""

Format: TypeAlias = Literal[
    "llm_adapters",
    "gsm8k",
    "math",
    "metamathqa",
    "codefeedback_python",
    "evol_instruct",
    "messages",
    "sharegpt",
    "alpaca",
    "humaneval",
    "mbpp",
    "mbpp_evalplus",
    "mbpp_plus",
    "mt_bench",
    "mt_bench_first_turn",
]
"""Layout of a data file's records, as their publishers write them."""

CHAT: Final = "chat"
"""Value of ``task.prompt`` for the chat template of the model's tokenizer."""

CHAT_TEMPLATE: Final = "chat_template"
"""Name of a chat template's digest, among those of the data."""

LossOn: TypeAlias = Literal["all_turns", "last_turn"]
"""Answers of a conversation that are trained on."""

SplitName: TypeAlias = Literal["train", "validation", "test"]
RecordField: TypeAlias = Literal["instruction", "input", "output", "answer", "id"]

PLUGIN_GROUP: Final = "droplora_sweep.benchmarks"
"""Entry points of this group are benchmarks that an installed package brings."""


BENCHMARK_NAMES: Final = (
    *("boolq", "piqa", "siqa", "hellaswag", "winogrande"),
    *("arc_easy", "arc_challenge", "openbookqa"),
    *("gsm8k", "math", "humaneval", "mbpp", "mbpp_evalplus", "mt_bench", "mt_bench_first_turn"),
    *("builtin_choice", "builtin_math", "builtin_code", "builtin_noisy"),
)
"""Benchmarks that are known by their names; ``tasks.BENCHMARKS`` says what they are."""


def unknown_benchmark(name: str) -> str:
    """Problem of a name that is not known and has no spec."""
    close = difflib.get_close_matches(name.lower(), BENCHMARK_NAMES, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(BENCHMARK_NAMES)}"
    return f"unknown benchmark {name!r}; {hint}"


def plugin_names() -> frozenset[str]:
    """Names of the benchmarks that installed packages bring; none of them is imported."""
    return plugins.names(PLUGIN_GROUP)


_LATER_FIELDS: Final = (
    *("configuration", "splits"),
    *("command", "command_timeout_s", "direction", "metrics"),
    *("lm_eval", "num_fewshot", "limit", "metric"),
)
"""Fields that are in no ledger and no fingerprint where they are not given."""


class _DataSpec(SpecModel):
    """A section with data of its own."""

    @model_serializer(mode="wrap")
    def _without_later_fields(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Its fields, as ledgers and fingerprints had them before the later ones were there."""
        fields: dict[str, Any] = serialize(self)
        for name in _LATER_FIELDS:
            if fields.get(name) in (None, (), [], {}):
                fields.pop(name, None)
        return fields


_NOT_OF_HARNESS: Final = (
    *("data", "revision", "configuration", "splits", "format", "scoring", "options", "pattern"),
    *("prompt_suffix", "fields", "metrics"),
)
"""Fields of a benchmark's data and scoring, which a task of lm-evaluation-harness has itself."""


class BenchmarkSpec(_DataSpec):
    """One benchmark, or what differs from a known one: null keeps what is known of its name."""

    data: PathText | None = None
    """A file, a folder with ``train.json`` and so on, a URL of either (``https``, ``s3``, ``gs``)
    or a Hub id; ``task.data`` where null."""
    revision: str | None = None
    """Commit of a Hub id in ``data``; of a URL ``sha256:`` and the digest of its content, null for
    what it has when a sweep begins."""
    configuration: str | None = None
    """Configuration of a Hub id in ``data``, as ``datasets`` knows it; its only or its default one
    where null."""
    splits: dict[SplitName, str] = Field(default_factory=dict)
    """Name in ``data`` by name of the split, e.g. ``{train: train_sft, test: dev}``, of a Hub id
    also a part, ``"test[:500]"``; a split that is not listed has its own name."""
    split: SplitName = "train"
    """Split of a lone file in ``data``; one whose format names splits or tests says so itself. With
    ``lm_eval``, ``validation`` lets the task's test documents validate where it has no others."""
    format: Format | None = None
    """Layout of the records; recognised by the first record's fields where null."""
    scoring: Scoring | None = None
    """``choice``: the first option in the response; ``number``; ``math``: normalised LaTeX;
    ``code``: tests that must pass; ``judge``: a rating by a judge; ``exact``: the whole response,
    stripped; ``regex``: the first match of ``pattern``, its first group where it has one; ``f1``
    and ``exact_match``: SQuAD's; ``bleu`` and ``chrf``: sacrebleu's of each response; ``rouge1``,
    ``rouge2`` and ``rougeL``: F-measures of rouge_score; ``command``: a program of your own;
    ``MODULE:FUNCTION`` or ``FILE.py:FUNCTION``: a function of your own, imported on the workers."""
    command: tuple[Annotated[str, Field(min_length=1)], ...] = Field(default=(), strict=False)
    """Program and arguments, for ``scoring: command``. Started without a shell, it reads a line of
    JSON for each response (id, prompt, response, reference) and prints a number in [0, 1] for each.
    """
    command_timeout_s: Positive | None = None
    """Seconds that ``command`` may take for all responses of one worker; 600 where null."""
    direction: Direction | None = None
    """Side on which the numbers of ``command`` or of a function are better. With ``lower`` they are
    costs in [0, 1]: 1 minus a cost is the score, and the mean cost is reported as
    ``cost/val/<benchmark>``. Null: ``higher``, or what a scorer class says."""
    metrics: tuple[MetricName, ...] = Field(default=(), strict=False)
    """Further metrics of the same responses, reported with their 95 % intervals as
    ``<metric>/val/<benchmark>``; nothing is decided by them."""
    options: tuple[Annotated[str, Field(min_length=1)], ...] = Field(default=(), strict=False)
    """Every option's name, for ``scoring: choice``."""
    pattern: str | None = None
    """Pattern of the answer, for ``scoring: regex``."""
    prompt_suffix: str | None = None
    """Ends the prompt; a newline where nothing else is known of the benchmark."""
    max_new_tokens: Count | None = None
    """Enough for every right response; ``evaluation.max_new_tokens`` where null."""
    fields: dict[RecordField, str] = Field(default_factory=dict)
    """Name in the file by name of the field, e.g. ``{instruction: question, answer: label}``; a
    field that is not listed has its usual name. Of another ``format`` than LLM-Adapters', the
    field that it makes an ``instruction``, ``output``, ``answer`` or ``id`` of."""

    lm_eval: PathText | None = None
    """Task of lm-evaluation-harness, by its name or as a YAML file: the library's prompts, few-shot
    examples and metrics are used, and the task's own splits. ``NAME: lm_eval:TASK`` is short for
    ``NAME: {lm_eval: TASK}``."""
    num_fewshot: Annotated[int, Field(ge=0)] | None = None
    """Solved examples in each prompt of ``lm_eval``; the task's own number where null."""
    limit: Count | None = None
    """The first so many documents of each split of ``lm_eval`` are read; all where null."""
    metric: str | None = None
    """Metric of ``lm_eval`` that is the score, e.g. ``acc_norm`` or, with its filter,
    ``exact_match,strict-match``; the task's first where null. The others are reported as
    ``<metric>/val/<benchmark>``."""

    @model_validator(mode="after")
    def _check_own(self) -> BenchmarkSpec:
        if self.command and self.scoring != COMMAND:
            problem = f"must be left out unless `scoring: command`, got {' '.join(self.command)!r}"
            raise broken_rule(problem, "command")
        if self.scoring == COMMAND and not self.command:
            problem = "must be given for `scoring: command`, as a list of a program and its "
            raise broken_rule(f"{problem}arguments, got none", "command")
        if self.command_timeout_s is not None and self.scoring != COMMAND:
            problem = f"must be left out unless `scoring: command`, got {self.command_timeout_s:g}"
            raise broken_rule(problem, "command_timeout_s")
        if self.direction is not None and (
            self.scoring is None or not (self.scoring == COMMAND or is_place(self.scoring))
        ):
            problem = "must be left out unless `scoring` is a command or a function of your own, "
            raise broken_rule(f"{problem}got {self.direction}", "direction")
        return self

    @model_validator(mode="after")
    def _check_harness(self) -> BenchmarkSpec:
        if self.lm_eval is None:
            for name in ("num_fewshot", "limit", "metric"):
                if (value := getattr(self, name)) is not None:
                    raise broken_rule(f"must be left out unless `lm_eval`, got {value}", name)
            return self
        for name in _NOT_OF_HARNESS:
            value = getattr(self, name)
            if value != type(self).model_fields[name].get_default(call_default_factory=True):
                problem = f"must be left out with `lm_eval`, which has its own, got {value!r}"
                raise broken_rule(problem, name)
        if self.split == "train":
            return self
        if self.split != "validation":
            problem = "must be validation or left out with `lm_eval`, got test"
            raise broken_rule(problem, "split")
        return self

    @model_validator(mode="after")
    def _check_pattern(self) -> BenchmarkSpec:
        if self.pattern is not None:
            try:
                re.compile(self.pattern)
            except re.error as error:
                problem = f"must be a regular expression, got {self.pattern!r}: {error.msg}"
                raise broken_rule(problem, "pattern") from error
            if self.scoring in SCORERS and "pattern" not in SCORERS[self.scoring].needs:
                problem = f"must be left out unless `scoring: regex`, got {self.pattern!r}"
                raise broken_rule(problem, "pattern")
        elif self.scoring in SCORERS and "pattern" in SCORERS[self.scoring].needs:
            problem = f"must be given for `scoring: {self.scoring}`, got null"
            raise broken_rule(problem, "pattern")
        return self


class TrainSpec(_DataSpec):
    """A training mixture of its own; the benchmarks then only validate and test."""

    name: Name
    """``commonsense_170k``, ``metamathqa``, ``codefeedback_python`` and ``evol_instruct`` have
    their format and prompt from it; any other name is a mixture of your own."""
    data: PathText | None = None
    """A file, a folder that holds it or ``train.json``, a URL of either (``https``, ``s3``, ``gs``)
    or a Hub id; in ``task.data`` where null."""
    revision: str | None = None
    """Commit of a Hub id, or digest of what a URL has, as in a benchmark's ``revision``."""
    configuration: str | None = None
    """Configuration of a Hub id, as in a benchmark's ``configuration``."""
    splits: dict[SplitName, str] = Field(default_factory=dict)
    """Name in ``data`` of the split that is trained on, e.g. ``{train: train_sft}``."""
    format: Format | None = None
    """Layout of the records; by the name, else recognised by the first record's fields: those of
    Alpaca (``alpaca``, or LLM-Adapters), ``messages`` (OpenAI) or ``conversations`` (``sharegpt``).
    """
    prompt_suffix: str | None = None
    """Ends the prompt; by the name, else a newline."""
    fields: dict[RecordField, str] = Field(default_factory=dict)
    """Name in the file by name of the field, as in a benchmark's ``fields``."""


class TaskSpec(SpecModel):
    """Training data and the benchmarks that score a trial."""

    name: Name = "builtin"
    """Name of the task in reports and in MLflow."""
    benchmarks: tuple[Name, ...] = Field(
        default=("builtin_choice", "builtin_math", "builtin_code"),
        min_length=1,
        strict=False,
    )
    """Trained on the union of their training splits; each is scored on its own.

    A list of names, or a mapping of each name to its spec, or to null for one that is known. A task
    of lm-evaluation-harness is ``lm_eval:TASK`` in either: ``[lm_eval:arc_easy]`` has the name
    ``lm_eval.arc_easy``.
    """
    benchmark_specs: dict[Name, BenchmarkSpec] = Field(default_factory=dict)
    """Specs of the mapping form of ``benchmarks``; write them there."""
    train: TrainSpec | None = None
    """A training mixture, in place of the benchmarks' own training splits."""
    prompt: str | None = None
    """Template with ``{instruction}`` and ``{input}``, or ``chat`` for the chat template of the
    model's tokenizer; the paper's (Alpaca's) where null."""
    system: Annotated[str, Field(min_length=1)] | None = None
    """System's text of every conversation that has none of its own, with ``prompt: chat``; null:
    none is given, where some chat templates put one of their own."""
    loss_on: LossOn = "all_turns"
    """Answers of a conversation that are trained on, with ``prompt: chat``: all, or the last."""
    scoring: Scoring | None = None
    """Scoring of benchmarks of your own that do not say so themselves; see
    ``BenchmarkSpec.scoring``."""
    data: PathText | None = None
    """Folder (its URL in an object store, or a Hub id) with ``<benchmark>/train.json`` and so on;
    built-in tasks need none."""
    revision: str | None = None
    """Commit of a Hub id, or digest of what a URL has, as in a benchmark's ``revision``."""
    num_train: Count | None = None
    """Training examples per benchmark or mixture, the first by stable order; all where null."""
    train_share: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share in (0, 1) of these that is trained on, per benchmark or mixture, at least one example:
    the first by stable order; all where null."""
    num_validation: Count = 200
    """Validation examples per benchmark, cut from the training data where no file has them."""
    num_confirmation: Count | None = None
    """Confirmation examples per benchmark, cut beside the validation examples, which neither
    training nor search sees; null: as many as ``num_validation`` where ``confirm`` decides on new
    examples, else none."""
    num_test: Count | None = None
    """Test examples per benchmark; all where null."""
    on_overlap: Literal["drop", "refuse"] = "drop"
    """Treatment of an example that two splits share: it leaves the less protected one (training
    before validation before test), or stops the sweep."""
    on_bad_record: Literal["refuse", "skip"] = "refuse"
    """Treatment of a broken record: it stops the sweep, or is left out and counted."""

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Its fields, as ledgers and fingerprints had them before there were shares and chats."""
        fields: dict[str, Any] = serialize(self)
        for name in ("train_share", "system"):
            if fields.get(name) is None:
                fields.pop(name, None)
        if fields.get("loss_on") == "all_turns":
            fields.pop("loss_on")
        return fields

    def canonical(self) -> dict[str, Any]:
        """Its fields as JSON, with what data behind a URL are in place of where they lie."""
        fields = self.model_dump(mode="json")
        sections = (fields, fields["train"] or {}, *fields["benchmark_specs"].values())
        for section in sections:
            if is_url(section.get("data") or ""):
                section["data"] = None
        return fields

    @model_validator(mode="before")
    @classmethod
    def _split_mapping(cls, data: Any) -> Any:
        """Names and specs apart, so that ``benchmarks`` is always a tuple of names."""
        if not isinstance(data, dict):
            return data
        benchmarks = data.get("benchmarks")
        if isinstance(benchmarks, list | tuple) and any(map(_is_harness, benchmarks)):
            benchmarks = {
                _harness_name(one) if _is_harness(one) else one: one if _is_harness(one) else None
                for one in benchmarks
            }
        if not isinstance(benchmarks, dict):
            return data
        specs = {
            name: {"lm_eval": spec.removeprefix(HARNESS_PREFIX)} if _is_harness(spec) else spec
            for name, spec in benchmarks.items()
            if spec is not None
        }
        given = data.get("benchmark_specs") or {}
        return {**data, "benchmarks": tuple(benchmarks), "benchmark_specs": {**given, **specs}}

    @model_validator(mode="after")
    def _check(self) -> TaskSpec:
        for name in self.benchmark_specs:
            if name not in self.benchmarks:
                problem = f"must be of names in `benchmarks`, got {name!r}"
                raise broken_rule(problem, "benchmark_specs")
        if self.prompt not in (None, CHAT):
            _check_prompt(self.prompt)
        if self.prompt != CHAT and self.system is not None:
            problem = f"must be left out unless `prompt: chat`, got {self.system[:60]!r}"
            raise broken_rule(problem, "system")
        if self.prompt != CHAT and self.loss_on != "all_turns":
            problem = f"must be left out unless `prompt: chat`, got {self.loss_on}"
            raise broken_rule(problem, "loss_on")
        return self


def _is_harness(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(HARNESS_PREFIX)


def _harness_name(value: str) -> str:
    """Return the name of a benchmark that is given as a task of lm-evaluation-harness alone.

    >>> _harness_name("lm_eval:arc_easy"), _harness_name("lm_eval:tasks/capitals.yaml")
    ('lm_eval.arc_easy', 'lm_eval.capitals')
    """
    stem = value.removeprefix(HARNESS_PREFIX).rpartition("/")[2]
    return f"lm_eval.{stem.removesuffix('.yaml').removesuffix('.yml')}"


def num_kept(num_examples: int, num_train: int | None, train_share: float | None) -> int:
    """Return how many training examples ``task.num_train`` and ``task.train_share`` leave.

    >>> num_kept(9427, None, 0.1), num_kept(9427, 1000, 0.1), num_kept(3, None, 0.1)
    (943, 100, 1)
    """
    kept = num_examples if num_train is None else min(num_train, num_examples)
    return kept if train_share is None else min(kept, max(1, round(train_share * kept)))


def is_unknown(name: str, task: TaskSpec) -> bool:
    """Return whether nothing says what the benchmark of this name is."""
    is_described = name in task.benchmark_specs or task.scoring is not None
    return not is_described and name not in BENCHMARK_NAMES and name not in plugin_names()


def _check_prompt(prompt: str) -> None:
    marks = re.findall(r"{([^{}]*)}", prompt)
    if "instruction" not in marks or set(marks) - {"instruction", "input"}:
        problem = f"must be chat, or hold {{instruction}}, and {{input}} or not, got {prompt!r}"
        raise broken_rule(problem, "prompt")
