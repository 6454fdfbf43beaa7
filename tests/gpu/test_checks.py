"""The checks themselves, on a CPU: the code that a GPU meets has been run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from droplora_sweep.models.loading import load_base_model
from tests.gpu.case import Case, rows_of
from tests.gpu.checks import determinism, device, evaluation, memory, step, zero

if TYPE_CHECKING:
    from types import ModuleType

    from tests.gpu.rows import Row
    from tests.gpu.setting import Setting

QUICK = {
    device: ("paces", "bfloat16"),
    memory: ("token mask",),
    determinism: ("strict, step mask", "draws"),
    evaluation: ("greedy", "options", "eager", "flash_attention_2"),
}
"""Cases by module; all others are slow."""


def run(module: ModuleType, setting: Setting, names: tuple[str, ...]) -> list[Row]:
    cases = [case for case in module.cases(setting) if case.name in names]
    assert len(cases) == len(names)
    return list(rows_of("a check", cases))


@pytest.mark.parametrize(
    ("module", "names"), list(QUICK.items()), ids=lambda one: getattr(one, "__name__", "")
)
def test_a_check_runs_on_a_cpu(
    module: ModuleType, names: tuple[str, ...], setting: Setting
) -> None:
    rows = run(module, setting, names)
    assert len(rows) >= len(names)
    assert [row for row in rows if row.outcome == "failed"] == []
    assert any(row.outcome in ("passed", "measured") or row.note for row in rows)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("module", [memory, step, determinism, evaluation, zero])
def test_every_case_runs_on_a_cpu(module: ModuleType, setting: Setting) -> None:
    quick = QUICK.get(module, ())
    names = tuple(case.name for case in module.cases(setting) if case.name not in quick)
    rows = run(module, setting, names)
    assert [row for row in rows if row.outcome == "failed"] == []
    for row in rows:
        if row.case == "waits of a step":
            # Tighter than on a GPU: a read in each of the two layers would be found.
            assert row.value is not None
            assert row.value <= 8


def test_a_case_that_fails_is_a_row_and_others_are_run(setting: Setting) -> None:
    def broken() -> list[Row]:
        raise RuntimeError("CUDA error: out of memory\nCompile with ...")

    [fine, *_] = device.cases(setting)
    rows = list(rows_of("memory", [Case("full", broken), fine]))
    assert rows[0].outcome == "failed"
    assert rows[0].note == "RuntimeError: CUDA error: out of memory"
    assert [row.case for row in rows[1:]] == ["copy", "launch", "product"]


def test_no_case_begins_once_the_time_is_up(setting: Setting) -> None:
    begun: list[str] = []
    rows = list(rows_of("device", device.cases(setting), deadline_s=0.0, begin=begun.append))
    assert [row.outcome for row in rows] == ["not run"] * 2
    assert begun == []


def test_a_response_that_is_not_greedy_is_counted(setting: Setting) -> None:
    """The control of ``greedy``: an arbitrary response is not the most likely one."""
    model = load_base_model(evaluation.builtin_trial().model)
    found = evaluation.not_greedy(model, range(5, 25), [7, 9, 11], setting.torch_device)
    assert found > 0
