"""Sections that are null or whole: their faults are told once each, and none is searched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from droplora_sweep.errors import InputError
from droplora_sweep.spec import load_sweep

if TYPE_CHECKING:
    from pathlib import Path

JUDGE = "judge: {url: 'http://here/v1', model: m, prompts: p"
FAULTS = {
    "unknown key": (
        "judge: {url: 'http://here/v1', modle: m, prompts: p}",
        "evaluation.judge.modle: unknown key, did you mean `model`?",
    ),
    "missing": (
        "judge: {url: 'http://here/v1', model: m}",
        "evaluation.judge.prompts: must be given",
    ),
    "address": (
        "judge: {url: 'ftp://here', model: m, prompts: p}",
        "evaluation.judge.url: must be an http or https address without user, password, query and "
        "fragment",
    ),
    "bound": (
        f"{JUDGE}, max_concurrent: 65}}",
        "evaluation.judge.max_concurrent: must be in [1, 64], got 65",
    ),
    "two keys": (
        f"{JUDGE}, key_env: A, key_file: b}}",
        "evaluation.judge.key_file: must be null where `key_env` is given, got both",
    ),
    "no mapping": (
        "judge: yes please",
        "evaluation.judge: must be a mapping or null, got 'yes please'",
    ),
    "one sample": (
        "sampling: {num_samples: 1}",
        "evaluation.sampling.num_samples: must be in [2, 1000], got 1",
    ),
    "too many": (
        "sampling: {num_samples: 5, pass_at: [1, 10]}",
        "evaluation.sampling.pass_at: must be at most `num_samples`, 5, got 10",
    ),
    "top_p": ("sampling: {top_p: 0}", "evaluation.sampling.top_p: must be in (0, 1], got 0"),
}


@pytest.mark.parametrize(("section", "fault"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_told_once_at_its_line(tmp_path: Path, section: str, fault: str) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(f"name: q\nevaluation:\n  {section}\n")
    with pytest.raises(InputError) as caught:
        load_sweep(file)
    assert str(caught.value) == f"{file}:3: {fault}"


def test_a_section_is_given_by_overrides_too(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("name: q\n")
    fields = {"url": "http://here/v1", "model": "m", "prompts": "p"}
    sweep = load_sweep(file, [f"evaluation.judge.{name}={value}" for name, value in fields.items()])
    assert sweep.evaluation.judge is not None
    assert sweep.evaluation.judge.model == "m"
    sweep = load_sweep(file, ["evaluation.sampling={num_samples: 20, pass_at: [1, 20]}"])
    assert sweep.evaluation.sampling is not None
    assert sweep.evaluation.sampling.pass_at == (1, 20)


@pytest.mark.parametrize("field", ["judge.model", "sampling.num_samples", "judge"])
def test_no_trial_of_a_sweep_has_a_section_of_its_own(tmp_path: Path, field: str) -> None:
    file = tmp_path / "s.yaml"
    parameters = f"{{evaluation.{field}: {{values: [20, 30]}}}}"
    file.write_text(f"name: q\nsearch:\n  parameters: {parameters}\n")
    with pytest.raises(InputError) as caught:
        load_sweep(file)
    assert str(caught.value).startswith(f"{file}:3: search.parameters.evaluation.{field}: ")
