"""Metric names stand in one module: no other spells them."""

from __future__ import annotations

import ast
from pathlib import Path

import droplora_sweep
from droplora_sweep.spec import metric_names

NAMES = {
    value
    for name, value in vars(metric_names).items()
    # "mean" and "learning_rate" are words of other fields too.
    if name.isupper() and isinstance(value, str) and name not in ("MEAN", "LEARNING_RATE")
}
FIELDS = {"trainable_parameters"}
"""Names of objectives in a search space that are metric names by chance."""


def spelled_in(source: str) -> set[str]:
    """The metric names among a module's string literals, docstrings left out."""
    tree = ast.parse(source)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    literals = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in docstrings
    }
    prefixes = tuple(f"{prefix}/" for prefix in ("val", "confirm", "train"))
    return {text for text in literals if text in NAMES or text.startswith(prefixes)}


def test_a_metric_name_is_found_in_plain_and_formatted_strings_and_not_in_docstrings() -> None:
    assert spelled_in('x = "val/mean"\ny = f"val/{x}"\n"""Of ``val/mean``."""') == {
        "val/mean",
        "val/",
    }
    assert spelled_in('z = {"train_seconds": 1.0}') == {"train_seconds"}


def test_no_other_module_spells_a_metric_name() -> None:
    [package] = map(Path, droplora_sweep.__path__)
    found = {
        path.relative_to(package).as_posix(): spelled
        for path in sorted(package.rglob("*.py"))
        if path.name != "metric_names.py" and (spelled := spelled_in(path.read_text()) - FIELDS)
    }
    assert found == {}
