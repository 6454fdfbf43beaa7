"""Two views of a trial, whose errors are those of drawing its examples again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from droplora_sweep.errors import SweepError
from droplora_sweep.evaluation.results import ExampleResult, example_scores, result_metrics
from droplora_sweep.ledger.files import write_results
from droplora_sweep.ledger.views import views, views_of

if TYPE_CHECKING:
    from pathlib import Path

BIT = math.log(2)


@dataclass
class Trial:
    trial_id: str
    results: Path | None


def drawn(
    generator: np.random.Generator, number: int, benchmark: str = "math"
) -> list[ExampleResult]:
    """Examples of many lengths, of which the easy ones are short."""
    sizes = generator.integers(5, 200, number)
    bits = sizes * generator.gamma(2.0, 0.1, number) + 0.002 * sizes**1.5
    is_right = generator.random(number) < 0.7
    return [
        ExampleResult(
            *(benchmark, f"e{index}", "r", "a", "a", bool(right), 1),
            reference_log_probability=-float(bit) * BIT,
            reference_bytes=int(size),
        )
        for index, (size, bit, right) in enumerate(zip(sizes, bits, is_right, strict=True))
    ]


def viewed(folder: Path, results: list[ExampleResult], subject: str) -> Any:
    write_results(folder / "results.parquet", results)
    trial: Any = Trial("t0000-00000000", folder / "results.parquet")
    return views_of(trial, subject)


def test_values_are_those_of_the_metrics(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    results = [*drawn(generator, 40), *drawn(generator, 30, "code")]
    metrics = result_metrics(results)
    for subject in ("math", "code", "mean"):
        found = viewed(tmp_path, results, subject)
        assert found.score.value == pytest.approx(metrics[f"val/{subject}"])
        assert -found.likelihood.value == pytest.approx(metrics[f"bits_per_byte/val/{subject}"])
        assert 0 < found.score.standard_error < 0.1


def test_errors_are_those_of_drawing_the_examples_again() -> None:
    generator = np.random.default_rng(2)
    repeats = []
    for _ in range(300):
        some = drawn(generator, 150)
        scores = example_scores((one.benchmark, one.example_id, one.score) for one in some)
        references = {
            one.example_id: (one.reference_log_probability, one.reference_bytes) for one in some
        }
        repeats.append(views(scores, {"math": references}, "math"))
    for name in ("score", "likelihood"):
        found = [getattr(one, name) for one in repeats]
        spread = np.std([one.value for one in found])
        said = np.mean([one.standard_error for one in found])
        # 300 draws give the spread itself within 4 %.
        assert said == pytest.approx(spread, rel=0.12)


def test_without_references_there_is_one_view(tmp_path: Path) -> None:
    right = ExampleResult("choice", "e0", "a", "a", "a", True, 1)
    found = viewed(tmp_path, [right], "mean")
    assert found.likelihood is None
    assert (found.score.value, found.score.standard_error) == (1.0, math.inf)
    trial: Any = Trial("t0001-00000000", None)
    with pytest.raises(SweepError, match="t0001-00000000: must have results of its examples"):
        views_of(trial, "mean")
