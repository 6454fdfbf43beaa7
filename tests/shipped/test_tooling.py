"""The entry points of the repository itself: make targets, CI and pre-commit."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TARGETS = [
    line.partition(":")[0]
    for line in (ROOT / "Makefile").read_text().splitlines()
    if ": " in line and " ## " in line
]


def make(*arguments: str) -> str:
    """Output of ``make`` as a user calls it, also where another make runs the tests."""
    environment = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    return subprocess.run(
        ["make", *arguments],
        cwd=ROOT,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def test_make_alone_lists_every_target() -> None:
    listed = [line.split()[0] for line in make().splitlines()]

    assert listed == TARGETS
    named = {"demo", "test", "test-all", "test-faults", "check", "bench", "ui", "smollm2"}
    assert named <= set(listed)


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_resolves_from_a_machine_without_a_venv(target: str) -> None:
    recipes = make("--dry-run", "--always-make", target)

    needs_venv = target not in ("help", "clean", "test-gpu-core")
    assert ("python3 -m venv .venv" in recipes) is needs_venv


def test_ci_is_a_valid_script() -> None:
    script = ROOT / ".ci/run"

    subprocess.run(["bash", "-n", script], check=True)
    assert os.access(script, os.X_OK)


def test_pre_commit_hooks_are_the_tools_of_make_check() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    check = make("--dry-run", "check")

    tools = [hook["entry"].split()[0] for repo in config["repos"] for hook in repo["hooks"]]
    assert len(tools) == 4
    assert all(tool in check for tool in tools)
