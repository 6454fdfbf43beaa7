"""A sweep can be planned and read on a laptop: specs bring in nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"torch", "transformers", "peft", "deepspeed", "ray", "mlflow", "optuna", "datasets"}


@pytest.mark.parametrize("package", ["droplora_sweep.spec", "droplora_sweep.errors"])
def test_nothing_heavy_is_imported(package: str) -> None:
    code = f"import sys, {package}; print(*sys.modules)"

    modules = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.split()

    assert package in modules
    assert HEAVY.isdisjoint(modules)
