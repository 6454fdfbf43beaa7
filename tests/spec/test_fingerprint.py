"""Two trials are the same trial exactly if everything that changes a result is the same."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

from droplora_sweep.spec import (
    AdapterSpec,
    SweepSpec,
    TrialSpec,
    fingerprint,
    load_sweep,
    package_versions,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DATA = {"builtin_math/train": "ab", "builtin_math/validation": "cd"}
PACKAGES = {"torch": "2.13.0", "peft": "0.21.2"}


def variants(section: Any) -> Iterator[dict[str, Any]]:
    """The section with each of its fields changed in turn."""
    changes = {"lora": "droplora", "droplora": "lora", "token": "step", "float32": "bfloat16"}
    for name, value in section.items():
        if isinstance(value, dict):
            for changed in variants(value):
                yield {**section, name: changed}
        elif isinstance(value, bool):
            yield {**section, name: not value}
        elif isinstance(value, float):
            yield {**section, name: value + 0.25}
        elif isinstance(value, int):
            yield {**section, name: value + 1}
        elif isinstance(value, tuple):
            yield {**section, name: value[:-1]}
        elif value is None:
            yield {**section, name: 1 if name.startswith("num_") else "a"}
        else:
            yield {**section, name: changes.get(value, f"{value}2")}


def test_every_field_counts() -> None:
    trials = [TrialSpec(), *(TrialSpec(**data) for data in variants(TrialSpec().model_dump()))]

    assert len(trials) > 30
    assert len({fingerprint(trial, DATA, PACKAGES, num_workers=2) for trial in trials}) == len(
        trials
    )


def test_data_and_packages_count() -> None:
    prints = {
        fingerprint(TrialSpec(), DATA, PACKAGES, num_workers=2),
        fingerprint(TrialSpec(), {**DATA, "builtin_math/train": "xy"}, PACKAGES, num_workers=2),
        fingerprint(TrialSpec(), DATA, {**PACKAGES, "torch": "2.13.1"}, num_workers=2),
        fingerprint(TrialSpec(), {}, PACKAGES, num_workers=2),
        fingerprint(TrialSpec(), DATA, PACKAGES, num_workers=4),
    }

    assert len(prints) == 5


def test_how_a_trial_was_written_does_not_count(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("name: q\nadapter: {alpha: 64, pruning_rate: 0}\n")
    written = load_sweep(file).trial

    same = fingerprint(
        TrialSpec(), dict(reversed(DATA.items())), dict(reversed(PACKAGES.items())), num_workers=2
    )

    assert fingerprint(written, DATA, PACKAGES, num_workers=2) == same
    assert (
        fingerprint(TrialSpec(adapter=AdapterSpec(alpha=64.0)), DATA, PACKAGES, num_workers=2)
        == same
    )
    assert (
        fingerprint(SweepSpec(name="other", storage="x").trial, DATA, PACKAGES, num_workers=2)
        == same
    )


def test_another_process_gives_the_same() -> None:
    code = (
        "from droplora_sweep.spec import *; "
        f"print(fingerprint(TrialSpec(), {DATA!r}, {PACKAGES!r}, num_workers=2), end='')"
    )

    printed = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout

    assert printed == fingerprint(TrialSpec(), DATA, PACKAGES, num_workers=2)
    assert len(printed) == 64


def test_package_versions_are_those_installed() -> None:
    versions = package_versions()

    assert sorted(versions) == ["deepspeed", "droplora-sweep", "peft", "torch", "transformers"]
    assert all(version[0].isdigit() for version in versions.values())
