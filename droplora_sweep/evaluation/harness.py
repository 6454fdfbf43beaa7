"""Benchmarks that lm-evaluation-harness asks and scores, example by example."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Any

from droplora_sweep.scorers.harness import HarnessScorer
from droplora_sweep.scorers.scorer import ScoringError
from droplora_sweep.tasks.harness import (
    aggregate,
    deciding_metric,
    is_mean,
    is_score,
    place_of,
    prompts,
    score_documents,
)

from .answering import prompt_digest
from .corpus import bootstrapped, mean_interval
from .results import ExampleResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from droplora_sweep.scorers.harness import HarnessSettings
    from droplora_sweep.tasks.harness import Kind
    from droplora_sweep.tasks.task import Example

    from .answering import Answerer, Share
    from .corpus import Interval

NUM_SLOW_SAMPLES = 100
"""Bootstrap samples of a metric that the library computes from all documents at once."""


def answer_by_harness(share: Share, answerer: Answerer) -> list[ExampleResult]:
    """Have the library ask the model and score its answers.

    Returns:
        A result for each of the share's examples, in their order. ``values`` has what the library
        measured beside the metric that is the score.

    Raises:
        ScoringError: The library cannot ask or score.
    """
    from .harness_model import HarnessModel

    scorer = share.benchmark.scorer
    assert isinstance(scorer, HarnessScorer), "a harness task has this scorer"
    model = HarnessModel(answerer)
    by_kind: dict[Kind, list[int]] = defaultdict(list)
    for example in share.examples:
        kind, index = place_of(example.id)
        by_kind[kind].append(index)
    samples: dict[tuple[Kind, int], list[dict[str, Any]]] = defaultdict(list)
    for kind, indices in by_kind.items():
        try:
            found = score_documents(scorer.settings, kind, sorted(indices), model)
        except ScoringError as error:
            raise ScoringError(f"{share.benchmark.name} cannot be scored: {error}") from error
        for sample in found:
            samples[kind, sample["doc_id"]].append(sample)
    return [
        _result(share.benchmark.name, scorer.settings, example, samples, answerer)
        for example in share.examples
    ]


def _result(
    benchmark: str,
    settings: HarnessSettings,
    example: Example,
    samples: dict[tuple[Kind, int], list[dict[str, Any]]],
    answerer: Answerer,
) -> ExampleResult:
    metric = deciding_metric(settings)
    kind, index = place_of(example.id)
    own = samples[kind, index]
    values = {
        name if one["filter"] == "none" else f"{name},{one['filter']}": _plain(one[name])
        for one in own
        for name in one["metrics"]
    }
    [deciding] = [one for one in own if one["filter"] == metric.filter]
    score = values.pop(metric.label)
    if not is_score(score):
        raise ScoringError(
            f"{benchmark} cannot be scored: {metric.label} must be a number in [0, 1] for each "
            f"example, got {score!r} for document {index}"
        )
    response, prediction, log_probability = _said(deciding)
    prompt = prompts(settings, kind)[index]
    return ExampleResult(
        benchmark=benchmark,
        example_id=example.digest,
        response=response,
        prediction=prediction,
        gold=example.answer,
        correct=float(score) == 1,
        credit=None if float(score) in (0.0, 1.0) else float(score),
        num_tokens=len(answerer.tokenizer.encode(response, add_special_tokens=False)) or 1,
        log_probability=log_probability,
        protocol=answerer.spec.protocol,
        prompt_digest=prompt_digest(prompt if isinstance(prompt, str) else "\n".join(prompt)),
        values=values,
    )


def _said(sample: dict[str, Any]) -> tuple[str, str | None, float | None]:
    """Return the response, the answer that was read from it, and its log-probability."""
    responses = [one[0] for one in sample["resps"]]
    if isinstance(responses[0], str):
        [read, *_] = sample["filtered_resps"]
        answer = read if isinstance(read, str) else str(read)
        # What the library's filters give where they find nothing.
        is_read = answer.strip() and answer != "[invalid]"
        return responses[0], answer if is_read else None, None
    chosen = max(range(len(responses)), key=lambda index: responses[index][0])
    texts = sample["arguments"][chosen]
    # Of some tasks options stand in the context, before one ending.
    differ = len({arguments[1] for arguments in sample["arguments"]}) > 1 or len(responses) == 1
    text = texts[1] if differ else f"{texts[0]}{texts[1]}"
    return text, text.strip() or None, float(responses[chosen][0])


def _plain(value: Any) -> Any:
    """Return a value of the library's as JSON has it."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value


def harness_intervals(
    settings: HarnessSettings, results: Sequence[ExampleResult]
) -> dict[str, Interval]:
    """Return the library's further metrics of a benchmark, each with its 95 % interval.

    Args:
        settings: The task.
        results: Of all its examples, in an order that does not depend on the workers.
    """
    found = {}
    for label in results[0].values or {}:
        values = [(one.values or {})[label] for one in results]
        name = label.replace(",", ".")
        if is_mean(settings, label) and all(isinstance(one, int | float) for one in values):
            found[name] = mean_interval([float(one) for one in values])
        else:
            found[name] = bootstrapped(
                values,
                partial(aggregate, settings, label),
                num_samples=NUM_SLOW_SAMPLES,
            )
    return found
