"""The plan names the first setting that does not fit, which part of it, and how much is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml

from droplora_sweep.errors import InputError
from droplora_sweep.plan.costs.pace import Pace
from droplora_sweep.plan.costs.work import GPUS
from droplora_sweep.plan.plan import make_plan
from droplora_sweep.plan.plan_costs import Assumed, find_gpu
from droplora_sweep.plan.survey import survey
from droplora_sweep.present.contents.plan import calibration_lines, cost_rows, plan_table
from droplora_sweep.present.misfit import memory_fault
from droplora_sweep.present.values import format_hours
from droplora_sweep.run.calibration import Calibration
from droplora_sweep.spec import load_sweep_file
from tests.evaluation.serving.environment import use_scripted_vllm

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from droplora_sweep.plan.plan_costs import Costs
    from droplora_sweep.plan.survey import Survey

LLAMA = {
    "path": "meta-llama/Llama-2-7b-hf",
    "revision": "01c7f73d771dfac7d292323805ebc428287df4f9",
    "dtype": "bfloat16",
}


@pytest.fixture
def survey_of(tmp_path: Path) -> Any:
    def make(**sections: Any) -> Survey:
        file = tmp_path / "s.yaml"
        data = {
            "name": "q",
            "model": LLAMA,
            "task": {"benchmarks": ["boolq"]},
            "group": {"num_workers": 4, "gpus_per_worker": 1},
            **sections,
        }
        file.write_text(yaml.safe_dump(data))
        return survey(load_sweep_file(file, needs_data=False))

    return make


@pytest.fixture
def rows(tmp_path: Path) -> Any:
    def make(
        *, model: Any = LLAMA, gpu: str | None = None, gb: float | None = None, **sections: Any
    ) -> tuple[Costs, dict[str, str]]:
        file = tmp_path / "s.yaml"
        data = {
            "name": "q",
            "model": model,
            "task": {"benchmarks": ["boolq"]},
            "group": {"num_workers": 4, "gpus_per_worker": 1 if model is LLAMA else 0},
            **sections,
        }
        file.write_text(yaml.safe_dump(data))
        found = survey(load_sweep_file(file, needs_data=False))
        assumed = Assumed(find_gpu(gpu), None if gb is None else round(gb * 1e9), 0.4)
        plan = make_plan(found, [{"CPU": 8.0}], assumed)
        assert plan.costs is not None
        return plan.costs, dict(cost_rows(found.sweep, plan, 0.4))

    return make


def test_the_first_setting_that_does_not_fit_is_named(rows: Any) -> None:
    parameters = {
        "adapter.method": {"values": ["lora", "dora", "full"]},
        "training.micro_batch_size": {"values": [1, 8]},
    }
    training = {"gradient_checkpointing": True}
    costs, shown = rows(gb=40, training=training, search={"parameters": parameters})

    setting = {"adapter.method": "full", "training.micro_batch_size": 1}
    assert costs.misfit.setting == setting
    assert costs.misfit.missing_bytes == costs.misfit.memory.peak - 40 * 10**9
    missing = costs.misfit.missing_bytes / 1e9
    assert shown["fits"].startswith("NOT method=full micro_batch_size=1: needs ")
    assert (
        f"{missing:.1f} GB more than 40.0 GB; its largest part is optimizer, 20.2 GB"
        in (shown["fits"])
    )


def test_all_fit_where_there_is_room(rows: Any) -> None:
    training = {"micro_batch_size": 4, "gradient_checkpointing": True}
    costs, shown = rows(gpu="A100-80G", training=training)

    assert costs.misfit is None
    assert shown["fits"] == "every setting, into A100-80G, 80.0 GB"
    assert "assuming 40% of the 312 TFLOP/s of A100-80G (not measured" in shown["GPU hours"]


SMALL = {"micro_batch_size": 1, "gradient_checkpointing": True}


def test_what_would_fit_is_named_with_its_gpus(rows: Any) -> None:
    costs, shown = rows(gb=12, training=SMALL, evaluation={"batch_size": 2})

    ways = {tuple(way.fields.items()): way.num_workers for way in costs.misfit.ways}
    stage_3, in_cpu = ("training.zero.stage", 3), ("training.zero.offload", "cpu")
    assert ways == {(stage_3,): 2, (stage_3, in_cpu): 1, (("model.quantization", "4bit"),): 1}
    assert all(way.memory.peak <= 12 * 10**9 for way in costs.misfit.ways)
    assert shown["would fit"].startswith("with `training.zero.stage: 3` on 2 GPUs per group, ")
    assert "; or with `model.quantization: 4bit` on 1 GPU per group, " in shown["would fit"]
    assert shown["ZeRO"].startswith("stage 2: ")


def test_a_stage_that_is_chosen_is_what_the_plan_counts_and_says(rows: Any) -> None:
    zero = {"stage": 3}
    costs, shown = rows(gb=12, training={**SMALL, "zero": zero}, evaluation={"batch_size": 2})

    assert costs.misfit is None
    assert "would fit" not in shown
    assert shown["ZeRO"] == "stage 3: workers split gradients, optimiser and base weights"
    assert "gathered 809.5 MB" in shown["  training"]


def test_a_full_model_has_more_gpus_or_the_cpus_memory(rows: Any) -> None:
    adapter = {"method": "full", "pruning_rate": 0.0}
    costs, _ = rows(gb=40, adapter=adapter, training=SMALL, evaluation={"batch_size": 2})

    ways = {tuple(way.fields.items()): way.num_workers for way in costs.misfit.ways}
    stage_3, in_cpu = ("training.zero.stage", 3), ("training.zero.offload", "cpu")
    assert ways == {(): 8, (stage_3,): 8, (stage_3, in_cpu): 1}


@pytest.mark.parametrize(("kind", "is_refused"), [("T4", False), ("L4", False), ("V100", False)])
def test_gpus_with_room_for_what_is_always_there_are_not_refused(
    survey_of: Any, kind: str, is_refused: bool
) -> None:
    nodes = [{"CPU": 8.0, "GPU": 4.0, f"accelerator_type:{kind}": 1.0}]
    assert (memory_fault(survey_of(), nodes) is not None) is is_refused


def test_too_little_memory_is_a_line_with_its_parts_and_what_would_fit(survey_of: Any) -> None:
    nodes = [{"CPU": 8.0, "GPU": 4.0, "accelerator_type:T4": 1.0}]
    model = {**LLAMA, "dtype": "float32"}
    found = survey_of(model=model, training=SMALL, evaluation={"batch_size": 2})
    line = str(memory_fault(found, nodes))
    assert line.startswith(
        "model.path: must fit into T4, 16.0 GB of each worker, got meta-llama/Llama-2-7b-hf, which "
        "takes weights 27.0 GB, adapter "
    )
    assert "before any batch; would fit with `training.zero.stage: 3` on 4 GPUs per group" in line
    assert "\n" not in line


def test_workers_that_share_a_gpu_share_its_memory(rows: Any) -> None:
    group = {"num_workers": 1, "gpus_per_worker": 0.5}
    costs, shown = rows(gpu="A100-80G", group=group)
    assert costs.gpu_bytes == 40 * 10**9
    assert shown["fits"].startswith("NOT every setting: needs ")
    assert "more than 1/2 of A100-80G, 40.0 GB" in shown["fits"]


def test_the_type_that_workers_ask_for_is_the_plans(rows: Any) -> None:
    group = {"num_workers": 4, "gpus_per_worker": 1, "accelerator_type": "A100-80G"}
    costs, _ = rows(group=group)
    assert costs.gpu is GPUS["A100-80G"]


def test_the_confirmation_comes_on_top(rows: Any) -> None:
    search = {"num_trials": 4, "parameters": {"adapter.pruning_rate": {"min": 0.0, "max": 0.5}}}
    costs, shown = rows(gpu="L4", search=search, confirm={"rates": 2, "seeds": 3})

    each = costs.trial_gpu_hours
    assert (
        f", {format_hours(4 * each)} for all trials, "
        f"{format_hours(6 * each)} to {format_hours(9 * each)} for the" in (shown["GPU hours"])
    )


def test_the_limit_of_the_confirmations_gpu_hours_is_shown(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    confirm = {"rates": 2, "seeds": 3, "max_seeds": 5, "gpu_hours": 12.5}
    data = {"name": "q", "confirm": confirm, "search": {"num_trials": 4}}
    file.write_text(yaml.safe_dump({**data, "task": {"benchmarks": ["builtin_choice"]}}))
    found = survey(load_sweep_file(file, needs_data=False))
    plan = make_plan(found, [{"CPU": 8.0}], Assumed(None, None, 0.4))
    shown = {one.cells[0].text: one.cells[1].text for one in plan_table(found, plan).rows}
    assert shown["confirmation"] == (
        "6 to 15 further runs of full length, as the search's results ask for, within 12.5 "
        "worker hours (`confirm.gpu_hours`); then winners are scored on the test split"
    )


def test_where_the_gpus_are_not_known_that_is_said(rows: Any) -> None:
    costs, shown = rows()

    assert (costs.gpu, costs.gpu_bytes, costs.trial_gpu_hours) == (None, None, None)
    assert shown["fits"].startswith("not known: which GPUs?")
    assert "GPU hours" not in shown


def test_on_cpus_memory_is_that_of_a_worker(rows: Any) -> None:
    costs, shown = rows(model={"path": "builtin"}, task={"num_train": 16, "num_validation": 8})

    assert costs.gpu is None
    memory = {"tokens per trial", "ZeRO", "memory per worker", "  training", "  evaluation"}
    assert set(shown) == {"time", *memory}
    assert shown["time"] == (
        "not known; `plan --calibrate` measures it on one group, in a few minutes"
    )


def test_a_gpu_is_known_in_small_letters_too() -> None:
    assert find_gpu("a100-40g") is GPUS["A100-40G"]


def test_a_gpu_that_is_not_known() -> None:
    with pytest.raises(InputError) as caught:
        find_gpu("A1000")

    assert str(caught.value) == f"--gpu: must be one of {', '.join(GPUS)}, got A1000"


def test_a_measured_pace_tells_the_search_and_its_confirmation(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    data = {
        "name": "q",
        "task": {"benchmarks": ["builtin_choice"], "num_train": 32},
        "training": {"global_batch_size": 8, "epochs": 2},
        "evaluation": {"num_evaluations": 2},
        "search": {"num_trials": 3, "parameters": {"adapter.pruning_rate": {"min": 0, "max": 0.5}}},
        "confirm": {"rates": 2, "seeds": 3},
    }
    file.write_text(yaml.safe_dump(data))
    found = survey(load_sweep_file(file, needs_data=False))
    plan = make_plan(found, [{"CPU": 4.0}])
    pace = Pace(start_s=10, step_s=1, evaluation_s=2, overhead_s=1)

    _, trial, search, confirmation = calibration_lines(
        found.sweep, plan, Calibration(pace, 64, 1e9)
    )

    # 8 steps; two evaluations of a trial, one of a confirmation run; two groups of two workers.
    assert trial == "a trial of 8 steps: 13.0 s"
    assert search == "all 3 trials on 2 groups, none stopped early: 36.0 s"
    assert confirmation == "the confirmation's 6 to 9 runs: 33.0 s to 55.0 s"


def test_vllms_memory_is_in_the_plan(
    rows: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use_scripted_vllm(monkeypatch, tmp_path)
    small = {"gpu": "a100", "gb": 80, "training": {"micro_batch_size": 1}}
    plain, _ = rows(**small)
    costs, shown = rows(**small, evaluation={"backend": "vllm"})
    assert costs.memory.server == 24 * 10**9, "vllm_memory_share of 0.3"
    assert costs.memory.training == plain.memory.training + 2**30, "it sleeps meanwhile"
    others = plain.memory.evaluation - plain.memory.decoding
    assert costs.memory.evaluation == others + max(plain.memory.decoding, 24 * 10**9)
    assert shown["  evaluation"].endswith(", vLLM 24.0 GB")
    assert "vLLM at rest 1.1 GB" in shown["  training"]
    assert shown["fits"] == "every setting, into A100, 80.0 GB"
    costs, shown = rows(**small, evaluation={"backend": "vllm", "vllm_memory_share": 0.9})
    assert shown["fits"].endswith("its largest part is vLLM, 72.0 GB")


def test_a_share_in_which_vllm_cannot_hold_its_model_is_named(
    rows: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use_scripted_vllm(monkeypatch, tmp_path)
    rows(gpu="a100", gb=40, evaluation={"backend": "vllm"})
    found = survey(load_sweep_file(tmp_path / "s.yaml", needs_data=False))
    notes = make_plan(found, [{"CPU": 8.0}], Assumed(find_gpu("a100"), 40 * 10**9, 0.4)).notes
    [note] = [one for one in notes if "vllm" in one]
    assert note == (
        "evaluation.vllm_memory_share: 0.3 of a GPU are 12.0 GB, and vLLM's own base model and "
        "adapter take 13.6 GB before its KV cache: it would not start, and transformers would "
        "decode"
    )


def test_on_cpus_vllm_holds_its_model_all_the_time(
    rows: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use_scripted_vllm(monkeypatch, tmp_path)
    costs, _ = rows(model={"path": "builtin"}, evaluation={"backend": "vllm"})
    memory = costs.memory
    held = memory.weights + memory.adapter + memory.decoding + 2**30
    assert memory.server == memory.server_at_rest == held
