"""The guide's table of the SmolLM2 study is what its records say."""

from __future__ import annotations

import json
import math
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
    search = halves([one for one in runs if one.stage == "search"])
    assert (
        f"it scores {search.picked_by_likelihood:.1%} on the other half, the one that leads by "
        f"accuracy {search.picked_by_accuracy:.1%}; the best is at {search.best:.1%}"
    ).replace("%", " %") in text
    assert (
        f"the trial of each rate that leads by it scores {search.of_rates_by_likelihood:.1%}, by "
        f"accuracy {search.of_rates_by_accuracy:.1%}"
    ).replace("%", " %") in text
    narrower = 1 - math.sqrt(1 - found.explained)
    assert (
        f"explains {100 * found.explained:.0f} % of the variance of scores, so that an interval "
        f"would be {100 * narrower:.0f} % narrower"
    ) in text
    assert f"is {found.likelihood_ratio:.1f} times that over seeds" in text
    assert f"(accuracy by {found.accuracy_ratio:.1f})" in text


@pytest.mark.parametrize("is_likelihood_better", [True, False])
def test_the_view_that_knows_more_correlates_more(is_likelihood_better: bool) -> None:
    """Runs of known quality, which the likelihood shows clearly, or the wrong way round."""
    generator = np.random.default_rng(5)
    runs = []
    for number in range(20):
        quality = number / 20
        likely = quality if is_likelihood_better else 1 - quality
        runs.append(
            Seen(
                stage="search",
                setting=json.dumps({"adapter.pruning_rate": number % 4 / 5, "seed": number}),
                scores=(generator.random(200) < 0.5 + 0.1 * quality).astype(float).tolist(),
                nats=generator.normal(-10 + 5 * likely, 1, 200).tolist(),
                num_bytes=[10] * 200,
            )
        )
    found = halves(runs)
    assert (found.by_likelihood > found.by_accuracy) is is_likelihood_better
    gain = found.of_rates_by_likelihood - found.of_rates_by_accuracy
    assert (gain > 0) is is_likelihood_better
    assert found.low <= found.by_likelihood - found.by_accuracy <= found.high
