"""The table of methods is the one place that tells them apart."""

from __future__ import annotations

import ast
from pathlib import Path

from droplora_sweep.spec.adapter import AdapterSpec
from droplora_sweep.spec.methods import METHODS, Method, find_method, method_of, names_of

PACKAGE = Path(__file__).parents[2] / "droplora_sweep"
TABLE = PACKAGE / "spec" / "methods.py"


def _texts(node: ast.AST) -> set[object]:
    return {one.value for one in ast.walk(node) if isinstance(one, ast.Constant)}


def tells_methods_apart(code: ast.AST) -> list[int]:
    """Lines that compare a method's name, match it, or list methods or facts about them."""
    lines = []
    for node in ast.walk(code):
        match node:
            case ast.Compare():
                found = any(_texts(side) & METHODS.keys() for side in node.comparators)
            case ast.MatchValue(value=value):
                found = bool(_texts(value) & METHODS.keys())
            case ast.Tuple(elts=texts) | ast.Set(elts=texts) | ast.List(elts=texts):
                named = {one.value for one in texts if isinstance(one, ast.Constant)}
                found = len(named & METHODS.keys()) > 1
            case ast.Dict(keys=keys):
                named = {one.value for one in keys if isinstance(one, ast.Constant)}
                found = len(named & METHODS.keys()) > 1
            case _:
                found = False
        if found:
            lines.append(node.lineno)
    return lines


def test_a_methods_name_is_compared_nowhere_else() -> None:
    found = {
        f"{file.relative_to(PACKAGE)}:{line}"
        for file in PACKAGE.rglob("*.py")
        if file != TABLE
        for line in tells_methods_apart(ast.parse(file.read_text()))
    }
    assert found == set()


def test_what_tells_methods_apart_is_seen() -> None:
    assert tells_methods_apart(ast.parse("if method == 'full': pass")) == [1]
    assert tells_methods_apart(ast.parse("x = one.method in ('pissa', 'milora')")) == [1, 1]
    assert tells_methods_apart(ast.parse("NAMES = {'dora': 'DoRA', 'full': 'Full'}")) == [1]
    assert tells_methods_apart(ast.parse("tags = ['lora', method]")) == []


def test_other_names_of_a_method() -> None:
    assert names_of("lora") == ("lora", "droplora")
    assert names_of("droplora") == ("droplora", "lora")
    assert names_of("dora") == ("dora",)
    assert {name for name, method in METHODS.items() if method.is_lora} == {"lora", "droplora"}
    assert all(method.canonical_name in METHODS for method in METHODS.values())


def test_every_section_of_one_method_is_a_field_of_the_adapter() -> None:
    sections = {method.settings for method in METHODS.values()} - {None}
    assert sections <= AdapterSpec.model_fields.keys()


def test_results_of_a_method_that_is_not_installed_can_be_read() -> None:
    assert find_method("somebodys") is None
    assert method_of("somebodys") == Method(name="somebodys", title="somebodys")
