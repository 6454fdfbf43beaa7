"""Two trials are the same trial exactly if everything that changes a result is the same."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from droplora_sweep.spec import (
    AdapterSpec,
    EvaluationSpec,
    ModelSpec,
    SweepSpec,
    TrainingSpec,
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


CHANGES = {
    "linear": "cosine",
    "adamw": "adamw_8bit",
    "all": "0",
    "lora": "dora",
    "lora_drop": "dora",
    "token": "learned",
    "constant": "cosine",
    "float32": "bfloat16",
    "none": "4bit",
    "paper": "strict",
    "seeded": "strict",
    "generate": "score",
    "drop": "refuse",
    "truncate": "drop",
    "auto": "vllm",
    "refuse": "skip",
    "validation": "confirmation",
}


def variants(section: Any) -> Iterator[dict[str, Any]]:
    """The section with each of its fields changed in turn."""
    for name, value in section.items():
        if name == "benchmark_specs":
            yield {**section, name: {section["benchmarks"][0]: {"prompt_suffix": ""}}}
        elif name == "train":
            yield {**section, name: {"name": "metamathqa"}}
        elif name == "prompt":
            yield {**section, name: "{instruction}"}
        elif name == "sampling":
            yield {**section, name: {"num_samples": 20}}
        elif name == "judge":
            yield {**section, name: {"url": "http://here/v1", "model": "m", "prompts": "p"}}
        elif name == "offload":
            yield {**section, name: "cpu"}
        elif name == "attention":
            yield {**section, name: "eager"}
        elif name == "scoring":
            yield {**section, name: "exact"}
        elif value == {}:
            yield {**section, name: {"q_proj": 3 if name == "module_ranks" else 0.25}}
        elif value == ():
            yield {**section, name: ("lm_head",)}
        elif isinstance(value, dict):
            for changed in variants(value):
                yield {**section, name: changed}
        elif isinstance(value, bool):
            yield {**section, name: not value}
        elif isinstance(value, float):
            yield {**section, name: value + (0.25 if value < 0.75 or value > 1 else -0.25)}
        elif isinstance(value, int):
            yield {**section, name: value + 1}
        elif isinstance(value, tuple):
            yield {**section, name: value[:-1]}
        elif value is None:
            yield {
                **section,
                name: 1 if "num_" in name or name.endswith(("_tokens", "_steps")) else "a",
            }
        else:
            yield {**section, name: CHANGES.get(value, f"{value}2")}


def fingerprints(*trials: TrialSpec) -> set[str]:
    return {fingerprint(trial, DATA, PACKAGES, num_workers=2) for trial in trials}


def test_every_field_counts_where_it_has_a_meaning() -> None:
    # LoRA-drop with a pruning rate is the adapter that every field has a meaning for.
    adapter = AdapterSpec(method="lora_drop", pruning_rate=0.5, alpha=64)
    trial = TrialSpec(adapter=adapter)
    trials = [trial, *(TrialSpec(**data) for data in variants(trial.model_dump()))]

    assert len(trials) > 35
    assert len(fingerprints(*trials)) == len(trials)


def test_a_likelihood_that_is_not_measured_counts_as_before_it_could_be() -> None:
    assert "likelihood" not in EvaluationSpec().canonical()
    assert EvaluationSpec(likelihood=True).canonical()["likelihood"] is True


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"method": "droplora"}, {"method": "lora"}),
        ({"method": "droplora", "pruning_rate": 0.2}, {"method": "lora", "pruning_rate": 0.2}),
        ({}, {"mask": "learned"}),
        ({}, {"rescale": False}),
        ({}, {"pruning_schedule": "linear"}),
        ({}, {"module_pruning_rates": {"q_proj": 0.0}}),
        ({}, {"lora_drop": {"threshold": 0.5}}),
        ({"method": "full"}, {"method": "full", "rank": 8, "alpha": 1.0, "dropout": 0.5}),
        ({"method": "full"}, {"method": "full", "target_modules": ["q_proj"], "mask": "step"}),
    ],
)
def test_a_field_without_a_meaning_does_not_count(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    trials = [TrialSpec(adapter=AdapterSpec(**fields)) for fields in (one, other)]

    assert trials[0].adapter.canonical() == trials[1].adapter.canonical()
    assert len(fingerprints(*trials)) == 1


def test_a_warmup_counts_as_what_gives_its_length() -> None:
    steps, share, other_share = (
        TrialSpec(training=TrainingSpec(**training))
        for training in (
            {"warmup_steps": 5, "warmup_ratio": 0.1},
            {"warmup_ratio": 0.1},
            {"warmup_steps": 5},
        )
    )

    assert len(fingerprints(steps, share, other_share)) == 2
    assert fingerprints(steps) == fingerprints(other_share)


def test_the_canonical_adapter_is_its_own_canonical_form() -> None:
    adapter = AdapterSpec(module_pruning_rates={"q_proj": 0.2}, mask="step", alpha=64)

    assert adapter.canonical() == adapter.model_copy(update={"method": "lora"})
    assert adapter.canonical().canonical() == adapter.canonical()


def test_the_quantizer_counts_where_the_base_is_quantized() -> None:
    newer = {**PACKAGES, "bitsandbytes": "0.50.0"}
    quantized = TrialSpec(model=ModelSpec(quantization="4bit"))

    def both(trial: TrialSpec) -> set[str]:
        return {fingerprint(trial, DATA, each, num_workers=2) for each in (PACKAGES, newer)}

    assert len(both(TrialSpec())) == 1
    assert len(both(quantized)) == 2


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

    needed = ["deepspeed", "droplora-sweep", "peft", "torch", "transformers"]
    assert sorted(versions.keys() - {"bitsandbytes"}) == needed
    assert all(version[0].isdigit() for version in versions.values())
