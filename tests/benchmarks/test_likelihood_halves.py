"""The guide's table of the SmolLM2 study is what its records say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks.likelihood_halves import Seen, halves, read_runs

RECORDS = Path(__file__).with_name("likelihood_smollm2.jsonl")
GUIDE = Path(__file__).parents[2] / "search_spaces" / "answers.md"


def test_the_guide_has_the_numbers_of_the_records() -> None:
    runs = read_runs(RECORDS)
    text = " ".join(GUIDE.read_text(encoding="utf-8").split())
    for stage, what in (("search", "the search's 12 trials"), ("confirm", "20 confirmation runs")):
        found = halves([one for one in runs if one.stage == stage])
        assert (
            f"{what} | {found.by_accuracy:.2f} | {found.by_likelihood:.2f} | "
            f"{found.low:.2f} to {found.high:.2f} |"
        ) in text
    assert f"is {found.likelihood_ratio:.1f} times that over seeds" in text
    assert f"(accuracy by {found.accuracy_ratio:.1f})" in text


@pytest.mark.parametrize("is_likelihood_better", [True, False])
def test_the_view_that_knows_more_correlates_more(is_likelihood_better: bool) -> None:
    """Runs of known quality, of which one view shows more than the other."""
    generator = np.random.default_rng(5)
    runs = []
    for number in range(20):
        quality = number / 20
        likely = quality if is_likelihood_better else generator.random()
        runs.append(
            Seen(
                stage="search",
                setting=str(number),
                scores=(generator.random(200) < 0.5 + 0.1 * quality).astype(float).tolist(),
                nats=generator.normal(-10 + 5 * likely, 1, 200).tolist(),
                num_bytes=[10] * 200,
            )
        )
    found = halves(runs)
    assert (found.by_likelihood > found.by_accuracy) is is_likelihood_better
    assert found.low <= found.by_likelihood - found.by_accuracy <= found.high
