"""Tasks of lm-evaluation-harness as benchmarks: their documents, prompts and metrics.

The library makes the prompts, few-shot examples included, and scores the responses; what is done
here is to divide a task's documents into the splits of a benchmark, and to find the metric that
gives each example a number in [0, 1], so that trials can be compared example by example.

Prompts are those of the library with its usual seed: few-shot examples are drawn document by
document, in the order of a split, so that no prompt depends on how many workers share the split.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import hashlib
import io
import json
import logging
import re
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from .json_records import BadDataError
from .task import Example

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from droplora_sweep.scorers.harness import HarnessSettings

Kind = Literal["training", "validation", "test"]
"""The library's names of splits."""

SEED: Final = 1234
"""Seed of the few-shot examples (the library's default)."""


@dataclass(frozen=True)
class TaskMetric:
    """A metric of a task.

    Attributes:
        name: As the library names it in a document's results.
        filter: Name of the filter through which responses are read.
        is_score: True where it is a number in [0, 1] of each example, of which more is better.
    """

    name: str
    filter: str
    is_score: bool

    @property
    def label(self) -> str:
        """The metric with its filter, unless that is none."""
        return self.name if self.filter == "none" else f"{self.name},{self.filter}"


def missing_harness() -> str | None:
    """Return why no task of the library can be used here; None where it is installed."""
    if find_spec("lm_eval") is not None:
        return None
    return "needs lm_eval, which is not installed: pip install 'droplora-sweep[harness]'"


@functools.cache
def harness_task(settings: HarnessSettings) -> Any:
    """Return the library's task, with its data.

    Raises:
        BadDataError: There is no such task, or it cannot be used.
    """
    if problem := missing_harness():
        raise BadDataError(f"{problem}, got {settings.task}")
    from lm_eval.tasks import TaskManager

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    file = Path(settings.task).expanduser().resolve() if settings.is_file else None
    if file is not None and not file.is_file():
        raise BadDataError(f"must be an existing file, got {settings.task}")
    manager = TaskManager(include_defaults=file is None)
    if not settings.is_file and settings.task not in manager.task_index:
        near = difflib.get_close_matches(settings.task, manager.all_tasks, n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise BadDataError(f"must be a task of lm_eval or a YAML file, got {settings.task!r}{hint}")
    if _is_group(manager, settings, file):
        raise BadDataError(
            f"must be one task, got the group {settings.task}; name those of its tasks that are "
            "meant"
        )
    try:
        # A file names its data relative to its own folder: workers have other working folders.
        folder = contextlib.nullcontext() if file is None else contextlib.chdir(file.parent)
        with folder, _without_bars():
            found = manager.load([settings.task if file is None else str(file)])["tasks"]
    # Whatever the library raises of a task or its data, the user needs to know of which.
    except Exception as error:
        said = " ".join(str(error).split())
        raise BadDataError(
            f"must be a task that lm_eval can load, got {settings.task}: "
            f"{type(error).__name__}: {said}"
        ) from error
    [task] = found.values()
    if getattr(task, "UNSAFE_CODE", False) or getattr(task, "MULTIMODAL", False):
        what = "runs code" if getattr(task, "UNSAFE_CODE", False) else "needs pictures or sound"
        raise BadDataError(f"must be a task of text alone, got {settings.task}, which {what}")
    own = task.get_config("num_fewshot")
    if settings.num_fewshot is not None and own == 0 and settings.num_fewshot != 0:
        raise BadDataError(
            f"num_fewshot must be left out for {settings.task}, whose own file sets it to 0, got "
            f"{settings.num_fewshot}"
        )
    number = own or 0 if settings.num_fewshot is None else settings.num_fewshot
    if number and not hasattr(task, "sampler"):
        raise BadDataError(
            f"num_fewshot must be 0 for {settings.task}, which has no documents to show, got "
            f"{number}"
        )
    task.set_config("num_fewshot", number)
    return task


def _is_group(manager: Any, settings: HarnessSettings, file: Path | None) -> bool:
    if file is not None:
        return re.search(r"^group:", file.read_text(encoding="utf-8"), re.MULTILINE) is not None
    return manager.task_index[settings.task].kind.name in ("GROUP", "TAG")


def _without_bars() -> contextlib.AbstractContextManager[object]:
    """Hide the bars that the library draws for work of less than a second."""
    return contextlib.redirect_stderr(io.StringIO())


@functools.cache
def documents(settings: HarnessSettings, kind: Kind) -> Sequence[Any]:
    """Return the documents of a split, the first ``limit`` of them; none where it has no split."""
    task = harness_task(settings)
    if not getattr(task, f"has_{kind}_docs")():
        return []
    docs = list(getattr(task, f"{kind}_docs")())
    return docs if settings.limit is None else docs[: settings.limit]


@functools.cache
def prompts(settings: HarnessSettings, kind: Kind) -> Sequence[str | list[str]]:
    """Return the prompt of each document; several, one for each option, for some tasks.

    A few-shot example is never the document itself.
    """
    task = harness_task(settings)
    with _as_evaluated(task, kind):
        task.set_fewshot_seed(SEED)
        return [
            task.fewshot_context(
                doc, task.get_config("num_fewshot"), gen_prefix=task.doc_to_prefix(doc)
            )
            for doc in documents(settings, kind)
        ]


@contextlib.contextmanager
def _as_evaluated(task: Any, kind: Kind) -> Iterator[None]:
    """Let the library evaluate a split that it would not evaluate by itself."""
    before = task.get_config("test_split")
    if kind == ("test" if task.has_test_docs() else "validation"):
        yield
        return
    task.set_config("test_split", task.get_config(f"{kind}_split"))
    try:
        yield
    finally:
        task.set_config("test_split", before)


def load_examples(settings: HarnessSettings) -> dict[str, tuple[Example, ...]]:
    """Return the examples of each split that the task has.

    An example's ``id`` says which document it is. Its instruction is the whole prompt, and its
    output what the right answer is after it; training examples are without few-shot examples.

    Raises:
        BadDataError: There is no such task, it cannot be used, or has no metric to score by.
    """
    deciding_metric(settings)
    task = harness_task(settings)
    splits: dict[str, tuple[Example, ...]] = {}
    names = {kind: task.get_config(f"{kind}_split") for kind in ("validation", "test")}
    for split, kind in _SPLITS:
        # Some tasks name one split twice.
        is_same = kind == "test" and names["test"] == names["validation"]
        docs = [] if is_same else documents(settings, kind)
        if docs:
            splits[split] = tuple(_examples(settings, kind, docs))
    if settings.is_validation and "validation" not in splits and "test" in splits:
        splits["validation"] = splits.pop("test")
    return splits


_SPLITS: Final[tuple[tuple[str, Kind], ...]] = (
    ("train", "training"),
    ("validation", "validation"),
    ("test", "test"),
)


def place_of(example_id: str | None) -> tuple[Kind, int]:
    """Return the split and index of the document that an example was made of.

    >>> place_of("validation:12")
    ('validation', 12)
    """
    kind, _, index = str(example_id).partition(":")
    return _KINDS[kind], int(index)


_KINDS: Final[dict[str, Kind]] = {kind: kind for kind in get_args(Kind)}


def _examples(settings: HarnessSettings, kind: Kind, docs: Sequence[Any]) -> Iterator[Example]:
    task = harness_task(settings)
    asked: Sequence[str | list[str]] = (
        [task.fewshot_context(doc, 0, gen_prefix=task.doc_to_prefix(doc)) for doc in docs]
        if kind == "training"
        else prompts(settings, kind)
    )
    # The library asks for the likelihood of a target as it is, and of an option behind this.
    is_bare = task.get_config("output_type") == "loglikelihood"
    delimiter = "" if is_bare else task.get_config("target_delimiter")
    for index, (doc, prompt) in enumerate(zip(docs, asked, strict=True)):
        right, target = _right(task, doc)
        yield Example(
            instruction=prompt if isinstance(prompt, str) else prompt[right],
            input="",
            output=f"{delimiter}{target}",
            # Nothing is compared with it here, but it is shown.
            answer=target.strip() or "(empty)",
            id=f"{kind}:{index}",
        )


def _right(task: Any, doc: Any) -> tuple[int, str]:
    """Return the index of a document's right option, and the text of its right answer."""
    target = task.doc_to_target(doc)
    if task.multiple_input:
        return int(task.doc_to_text(doc)), str(target)
    if isinstance(target, list):
        target = target[0] if target else ""
    if task.get_config("doc_to_choice") is None:
        return 0, str(target)
    options = task.doc_to_choice(doc)
    if isinstance(target, int):
        return target, str(options[target])
    return (options.index(target) if target in options else 0), str(target)


@functools.cache
def task_metrics(settings: HarnessSettings) -> tuple[TaskMetric, ...]:
    """Return what the library measures of a document, found by scoring one without a model.

    Raises:
        BadDataError: It cannot be scored.
    """
    task = harness_task(settings)
    kind: Kind = "test" if task.has_test_docs() else "validation"
    with _without_bars():
        samples = score_documents(settings, kind, [0], _guessing_model())
    better = task.higher_is_better()
    return tuple(
        TaskMetric(
            name,
            sample["filter"],
            better.get(name, True) is True and is_score(sample[name]),
        )
        for sample in samples
        for name in sample["metrics"]
    )


def is_score(value: Any) -> bool:
    """Return True for a number in [0, 1]; the library's truth values are numbers too."""
    return isinstance(value, Real) and 0 <= float(value) <= 1


def deciding_metric(settings: HarnessSettings) -> TaskMetric:
    """Return the metric that is a benchmark's score.

    Raises:
        BadDataError: The task has none, or not the one that the benchmark names.
    """
    known = task_metrics(settings)
    scores = [one for one in known if one.is_score]
    listed = ", ".join(one.label for one in scores)
    if not scores:
        got = ", ".join(one.label for one in known) or "none"
        raise BadDataError(
            f"must be a task with a metric that is a number in [0, 1] for each example, more being "
            f"better, got {settings.task} with {got}"
        )
    if settings.metric is None:
        return scores[0]
    for one in scores:
        if settings.metric in (one.label, one.name, f"{one.name},{one.filter}"):
            return one
    raise BadDataError(
        f"metric must be one of {listed}, numbers in [0, 1] for each example, more being better, "
        f"got {settings.metric!r}"
    )


def score_documents(
    settings: HarnessSettings, kind: Kind, indices: Sequence[int], model: Any
) -> list[dict[str, Any]]:
    """Have the library evaluate documents of a split, and return its samples.

    Args:
        settings: The task.
        kind: Its split.
        indices: Documents, ascending; at least one.
        model: The library's ``LM``.

    Returns:
        What the library logs of each document and filter: ``doc_id``, ``filter``, ``arguments``,
        ``resps``, ``filtered_resps``, ``metrics`` and the value of each of them.
    """
    from lm_eval.evaluator import evaluate

    task = harness_task(settings)
    asked = prompts(settings, kind)
    following = iter([asked[index] for index in indices])
    name = task.task_name
    with _as_evaluated(task, kind):
        # Made before, so that they do not depend on which other documents are asked with it.
        task.fewshot_context = lambda *_, **__: next(following)
        try:
            found = evaluate(
                model,
                {"tasks": {name: task}},
                samples={name: list(indices)},
                bootstrap_iters=0,
                log_samples=True,
            )
        finally:
            del task.fewshot_context
    assert found is not None, "rank 0 of one gets the results"
    samples: list[dict[str, Any]] = found["samples"][name]
    return samples


def _guessing_model() -> Any:
    """Return a model of the library that prefers first options and says one word."""
    from lm_eval.api.model import LM

    class Guessing(LM):
        def loglikelihood(self, requests: Any) -> list[tuple[float, bool]]:
            return [(-1.0 - index, False) for index, _ in enumerate(requests)]

        def loglikelihood_rolling(self, requests: Any) -> list[float]:
            return [-1.0 for _ in requests]

        def generate_until(self, requests: Any) -> list[str]:
            return ["word" for _ in requests]

    return Guessing()


def harness_digest(settings: HarnessSettings) -> str:
    """Return the sha256, in hex, of all that decides how the task is asked and scored."""
    task = harness_task(settings)
    content = {
        "version": metadata.version("lm_eval"),
        "config": task.dump_config(),
        "metric": deciding_metric(settings).label,
        "limit": settings.limit,
    }
    # Paths and caches differ between machines.
    content["config"].pop("dataset_kwargs", None)
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def aggregate(settings: HarnessSettings, label: str, values: Sequence[Any]) -> float:
    """Return the library's aggregate of a metric over documents."""
    task = harness_task(settings)
    name = label.partition(",")[0]
    from lm_eval.api.metrics import mean

    combine = task.aggregation().get(name, mean)
    return float(combine(list(values)))


def is_mean(settings: HarnessSettings, label: str) -> bool:
    """Return True where a metric over documents is the mean of its values."""
    from lm_eval.api.metrics import mean

    combine = harness_task(settings).aggregation().get(label.partition(",")[0], mean)
    return combine is mean
