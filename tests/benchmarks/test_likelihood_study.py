"""The guide's table of accuracy and likelihood is what the study's records say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks.likelihood_study import findings, gain, read_records, signal_to_noise

RECORDS = Path(__file__).with_name("likelihood_quickstart.jsonl")
GUIDE = Path(__file__).parents[2] / "search_spaces" / "answers.md"


def test_the_guide_has_the_numbers_of_the_records() -> None:
    records = read_records(RECORDS)
    views = [findings(records, view) for view in ("accuracy", "bits_per_byte")]
    rows = {
        "all 24 adapters": [f"{one.correlation:.2f}" for one in views],
        "the better 17": [f"{one.among_better:.2f}" for one in views],
        "variance between settings": [f"{one.signal_to_noise:.1f}" for one in views],
        "seconds": [f"{one.seconds:.1f}" for one in views],
    }
    lines = [line for line in GUIDE.read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    for name, numbers in rows.items():
        [line] = [line for line in lines if name in line]
        assert [cell.strip() for cell in line.split("|")[2:4]] == numbers
    value, low, high = gain(records)
    said = f"more by {value:.2f}, with a 95 % interval over adapters from {low:.2f} to {high:.2f}"
    assert said in " ".join(GUIDE.read_text(encoding="utf-8").split())


@pytest.mark.parametrize("ratio", [0.0, 0.5, 4.0])
def test_signal_to_noise_is_the_ratio_of_the_variances(ratio: float) -> None:
    generator = np.random.default_rng(3)
    settings, values = [], []
    for setting in range(3_000):
        height = generator.normal(0, 0.02 * ratio**0.5)
        for _ in range(int(generator.integers(1, 5))):
            settings.append(f"{setting}")
            values.append(height + generator.normal(0, 0.02))
    found = signal_to_noise(settings, np.array(values))
    assert found == pytest.approx(ratio, rel=0.1, abs=0.05)
