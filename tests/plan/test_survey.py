"""Checks without a model's or a task's files; the rest is named as not checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml

from droplora_sweep.errors import InputError
from droplora_sweep.plan.plan import make_plan
from droplora_sweep.plan.survey import prepare, survey
from droplora_sweep.present.contents.plan import plan_table
from droplora_sweep.spec import load_sweep_file

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from droplora_sweep.spec import SweepFile

COMMIT = "0123456789abcdef0123456789abcdef01234567"
KNOWN = {"path": "meta-llama/Llama-2-7b-hf", "revision": COMMIT}


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    # What HF_HUB_OFFLINE=1 does; the client reads that variable once, on import.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    def load(**sections: Any) -> SweepFile:
        file = tmp_path / "s.yaml"
        file.write_text(yaml.safe_dump({"name": "q", **sections}, sort_keys=False))
        return load_sweep_file(file, needs_data=False)

    return load


def refusal(file: SweepFile, folder: Path) -> list[str]:
    with pytest.raises(InputError) as caught:
        survey(file)
    return [str(fault).removeprefix(f"{folder}/") for fault in caught.value.faults]


def test_a_well_known_model_and_published_data_are_taken_on_trust(sweep: Any) -> None:
    found = survey(sweep(model=KNOWN, task={"benchmarks": ["boolq"]}))

    assert found.model is not None
    assert found.model.num_parameters == 6_738_415_616
    assert (found.task, found.num_training_examples) == (None, 9_227)
    assert [line.partition(":")[0] for line in found.unchecked] == ["model.path", "task.data"]


def test_what_is_here_is_read_and_nothing_is_unchecked(sweep: Any) -> None:
    found = survey(sweep(task={"num_train": 16, "num_validation": 8}))

    assert found.unchecked == ()
    assert found.task is not None
    assert found.num_training_examples == 48


def test_an_unknown_model_that_cannot_be_had_has_no_sizes(sweep: Any) -> None:
    model = {"path": "owner/unheard-of", "revision": COMMIT}
    found = survey(sweep(model=model, task={"num_train": 16, "num_validation": 8}))

    assert found.model is None
    rows = plan_table(found, make_plan(found, [{"CPU": 4.0}])).rows
    unknown = "not known: only models with Llama's layers are counted"
    assert ["memory", unknown] in [[cell.text for cell in row.cells] for row in rows]
    [line] = found.unchecked
    assert line == (
        "model.path: no such folder, and the Hub cannot be reached for owner/unheard-of at "
        "0123456789ab; so its kind, layers, context, tokens and parameters are not known"
    )


def test_what_needs_no_file_is_checked(sweep: Any, tmp_path: Path) -> None:
    file = sweep(
        model=KNOWN,
        task={"benchmarks": ["humaneval", "mbpp"], "train": {"name": "codefeedback_python"}},
        adapter={"rank": 5000, "target_modules": ["q_proj", "w_proj"]},
        search={"metric": "val/humaneval"},
    )

    faults = refusal(file, tmp_path)
    assert faults[0].startswith("s.yaml:17: search.metric: must be of a benchmark with validation")
    assert "got w_proj, which match none" in faults[1]
    assert "adapter.rank: must be at most 4096" in faults[2]


def test_conversations_need_a_judge(sweep: Any, tmp_path: Path) -> None:
    file = sweep(model=KNOWN, task={"benchmarks": ["mt_bench"], "train": {"name": "evol_instruct"}})

    [fault] = refusal(file, tmp_path)
    assert fault.endswith(
        "evaluation.judge: must be given for this task, which a judge rates, got null"
    )


def test_a_run_still_needs_the_files(sweep: Any) -> None:
    with pytest.raises(InputError) as caught:
        prepare(sweep(model=KNOWN, task={"benchmarks": ["boolq"]}))

    model, data = caught.value.faults
    assert "the Hub cannot be reached" in model.problem
    assert data.problem.startswith("must name the folder that holds boolq, got null")
