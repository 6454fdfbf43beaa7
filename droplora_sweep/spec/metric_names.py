"""Names of the metrics that trials report.

Search spaces, ledgers and MLflow have them as they are here. The name of a score is
``<split>/<subject>``, such as ``val/gsm8k``, where the subject is a benchmark, or ``mean`` for the
mean over benchmarks.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


MEAN: Final = "mean"
"""The subject of a mean over benchmarks."""

SPLIT_PREFIXES: Final[Mapping[str, str]] = {
    "validation": "val",
    "confirmation": "confirm",
    "test": "test",
}
"""Beginning of a score's name, by the split that was scored: none is taken for another."""

TRAIN_LOSS: Final = "train/loss"
"""Mean loss per response token since the evaluation before, in nats."""
LATE_FALL: Final = "train/late_fall"
"""Loss that the last part of training took off, in nats per response token."""
LATE_FALL_LOW: Final = "train/late_fall_low"
"""Low end of its 95 % interval."""
LATE_PACE: Final = "train/late_pace"
"""The loss's slope in the last part of training, relative to its average slope."""
LEARNING_RATE: Final = "learning_rate"
"""Learning rate of the last step."""
TRAIN_SECONDS: Final = "train_seconds"
"""Seconds of training since the evaluation before."""
EVALUATION_SECONDS: Final = "evaluation_seconds"
"""Seconds of the evaluation."""
TOKENS_PER_SECOND: Final = "tokens_per_second"
"""Trained tokens per second, over all workers, without padding."""
PEAK_MEMORY_GB: Final = "peak_memory_gb"
"""GB of the worker that used most, since it began with the trial."""
TRAINABLE_PARAMETERS: Final = "trainable_parameters"
"""Number of trained weights."""
OVERLONG_EXAMPLES: Final = "overlong_examples"
"""Training examples left out because they exceed ``training.max_sequence_tokens``."""
SHORTENED_EXAMPLES: Final = "shortened_examples"
"""Conversations trained on without their last turns, which exceed the same limit."""
EMPTY_EXAMPLES: Final = "empty_examples"
"""Training examples left out because their response is empty."""
VLLM_SHARE: Final = "vllm_share"
"""Share of an evaluation's responses that vLLM decoded, where it was asked for."""
VLLM_AGREEMENT: Final = "vllm_agreement"
"""Share of tokens in some of vLLM's greedy responses that are likeliest to transformers too."""
PERPLEXITY_BEFORE: Final = "perplexity/before"
"""Perplexity of the held-out text under the base model."""
PERPLEXITY_AFTER: Final = "perplexity/after"
"""Perplexity of the held-out text under the trained model."""
PERPLEXITY_RATIO: Final = "perplexity/ratio"
"""The perplexity after training over that before: above 1 where the model forgot."""

LONG_PROMPTS: Final = "long_prompts/"
"""Beginning of a benchmark's number of prompts that did not fit."""
UNPARSABLE: Final = "unparsable/"
"""Beginning of a benchmark's number of responses from which no answer could be read."""
RATING: Final = "rating/"
"""Beginning of a judge's mean rating of a benchmark, 1 to 10."""
UNRATED: Final = "unrated/"
"""Beginning of a benchmark's number of answers without a rating."""
PASS_AT: Final = "pass_at_"
"""Beginning of ``pass_at_<k>/<benchmark>``; MLflow takes no ``@`` in a name."""
BITS_PER_BYTE: Final = "bits_per_byte/"
"""Beginning of ``bits_per_byte/<split>/<subject>``: the likelihood of reference responses."""

COST: Final = "cost"
"""Metric of a benchmark whose scorer's numbers are costs."""
LOW: Final = "/low"
"""End of the name of the low end of a metric's 95 % interval."""
HIGH: Final = "/high"
"""End of the name of the high end of a metric's 95 % interval."""


def score_name(subject: str, split: str = "validation") -> str:
    """Return the name of a score.

    >>> score_name("gsm8k"), score_name("mean", "confirmation")
    ('val/gsm8k', 'confirm/mean')
    """
    return f"{SPLIT_PREFIXES[split]}/{subject}"


def is_score(metric: str) -> bool:
    """Return True for a score, which is a fraction of 1.

    >>> is_score("val/mean"), is_score("train/loss")
    (True, False)
    """
    return metric.partition("/")[0] in SPLIT_PREFIXES.values()


def likelihood_name(subject: str, split: str = "validation") -> str:
    """Return the name of the references' bits per byte.

    >>> likelihood_name("gsm8k"), likelihood_name("mean", "test")
    ('bits_per_byte/val/gsm8k', 'bits_per_byte/test/mean')
    """
    return f"{BITS_PER_BYTE}{score_name(subject, split)}"


def reported_name(metric: str, benchmark: str, split: str = "validation") -> str:
    """Return the name of a metric that is reported beside a benchmark's score.

    >>> reported_name("bleu", "news", "test")
    'bleu/test/news'
    """
    return f"{metric}/{score_name(benchmark, split)}"


def subject_of(metric: str) -> str:
    """Return the benchmark, or ``mean``, that a search's metric is of.

    >>> subject_of("val/gsm8k"), subject_of("bits_per_byte/val/gsm8k")
    ('gsm8k', 'gsm8k')
    """
    return metric.removeprefix(BITS_PER_BYTE).removeprefix(score_name(""))


def is_likelihood(metric: str) -> bool:
    """Return True for the references' bits per byte, of which less is better.

    >>> is_likelihood("bits_per_byte/val/mean"), is_likelihood("val/mean")
    (True, False)
    """
    return metric.startswith(BITS_PER_BYTE)


def search_value(metric: str, metrics: Mapping[str, float]) -> float:
    """Return what a search maximises: its metric, or the negative where less of it is better.

    Samplers, stopping rules, populations and warm starts compare trials by it alone. It is NaN
    where the metric is missing.

    >>> search_value("val/mean", {"val/mean": 0.5})
    0.5
    >>> search_value("bits_per_byte/val/mean", {"bits_per_byte/val/mean": 0.25})
    -0.25
    """
    value = metrics.get(metric, math.nan)
    return -value if is_likelihood(metric) else value


def by_benchmark(metrics: Mapping[str, float], prefix: str) -> dict[str, float]:
    """Return the metrics whose names begin alike, by the rest of their names.

    >>> by_benchmark({"unrated/mt_bench": 2.0, "val/mean": 0.5}, UNRATED)
    {'mt_bench': 2.0}
    """
    return {
        name.removeprefix(prefix): value
        for name, value in metrics.items()
        if name.startswith(prefix)
    }
