"""HumanEval and MBPP in the sandbox: every reference solution passes, a mutant of each fails."""

from __future__ import annotations

import ast
import gzip
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from droplora_sweep.scorers.code_runner import run_programs
from droplora_sweep.scorers.sandbox import find_sandbox, no_sandbox_reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MUTANT_LIMIT_S = 1.0
"""A mutant may loop for ever, which is a failure too."""


@dataclass(frozen=True)
class Task:
    """The solution's source, and the tests that are run after it."""

    solution: str
    tests: str

    def program(self, solution: str | None = None) -> str:
        return f"{self.solution if solution is None else solution}\n\n{self.tests}\n"


def _humaneval(folder: Path) -> dict[str, Task]:
    with gzip.open(folder / "humaneval" / "HumanEval.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return {
        row["task_id"]: Task(
            row["prompt"] + row["canonical_solution"],
            f"{row['test']}\ncheck({row['entry_point']})",
        )
        for row in rows
    }


def _mbpp(folder: Path) -> dict[str, Task]:
    with (folder / "mbpp" / "mbpp.jsonl").open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return {
        f"MBPP/{row['task_id']}": Task(
            row["code"], "\n".join((row["test_setup_code"], *row["test_list"]))
        )
        for row in rows
    }


LOADERS: dict[str, tuple[Callable[[Path], dict[str, Task]], int]] = {
    "HumanEval": (_humaneval, 164),
    "MBPP": (_mbpp, 974),
}


@pytest.fixture(params=LOADERS)
def tasks(request: pytest.FixtureRequest, benchmark_files: Path) -> dict[str, Task]:
    if find_sandbox() is None:
        pytest.skip(f"no sandbox: {no_sandbox_reason()}")
    load, num_tasks = LOADERS[request.param]
    loaded = load(benchmark_files / "code")
    assert len(loaded) == num_tasks
    return loaded


@pytest.mark.slow
def test_every_reference_solution_passes(tasks: dict[str, Task]) -> None:
    passed = run_programs(task.program() for task in tasks.values())
    assert [name for name, task in tasks.items() if not passed[task.program()]] == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:invalid escape sequence")
def test_a_mutant_of_every_reference_solution_fails(tasks: dict[str, Task]) -> None:
    alive = {name: _mutants(task.solution) for name, task in tasks.items()}
    while alive:
        tried = {name: next(mutants, None) for name, mutants in alive.items()}
        exhausted = [name for name, mutant in tried.items() if mutant is None]
        assert exhausted == []
        programs = {name: tasks[name].program(mutant) for name, mutant in tried.items()}
        passed = run_programs(programs.values(), MUTANT_LIMIT_S)
        alive = {name: alive[name] for name, program in programs.items() if passed[program]}


def _mutants(solution: str) -> Iterator[str]:
    """Small changes first: a comparison, a constant, an operator; then what is returned."""
    for change in (_flip_comparison, _change_constant, _swap_operator, _return_none):
        tree = ast.parse(solution)
        nodes = [node for node in ast.walk(tree) if change(node)]
        if nodes:
            yield ast.unparse(tree)


def _flip_comparison(node: ast.AST) -> bool:
    pairs: tuple[tuple[type[ast.cmpop], type[ast.cmpop]], ...] = (
        (ast.Eq, ast.NotEq),
        (ast.Lt, ast.GtE),
        (ast.Gt, ast.LtE),
        (ast.In, ast.NotIn),  # codespell:ignore
        (ast.Is, ast.IsNot),
    )
    opposites = {**dict(pairs), **{second: first for first, second in pairs}}
    if not isinstance(node, ast.Compare):
        return False
    node.ops = [opposites[type(operator)]() for operator in node.ops]
    return True


def _change_constant(node: ast.AST) -> bool:
    if not isinstance(node, ast.Constant) or type(node.value) not in (int, float):
        return False
    node.value += 1
    return True


def _swap_operator(node: ast.AST) -> bool:
    if not isinstance(node, ast.BinOp):
        return False
    node.op = ast.Sub() if not isinstance(node.op, ast.Sub) else ast.Add()
    return True


def _return_none(node: ast.AST) -> bool:
    if not isinstance(node, ast.Return):
        return False
    node.value = None
    return True


@pytest.mark.benchmark
def test_the_reference_solutions_take_milliseconds_each(tasks: dict[str, Task]) -> None:
    programs = [task.program() for task in tasks.values()]
    find_sandbox()
    start = time.monotonic()
    run_programs(programs)
    assert (time.monotonic() - start) / len(programs) < 0.05
