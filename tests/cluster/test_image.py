"""The image's file: linted, in step with the package and with the Kubernetes files."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import ray
import yaml

from tests.programs import find_program

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "cluster" / "Dockerfile"


def instructions() -> list[tuple[str, str]]:
    """Each instruction and its arguments, comments left out and lines joined."""
    lines = DOCKERFILE.read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#"))
    joined = re.sub(r"\\\n\s*", "", text)
    return [
        (name, arguments)
        for name, _, arguments in (line.partition(" ") for line in joined.splitlines() if line)
    ]


def arguments_of(name: str) -> list[str]:
    return [arguments for instruction, arguments in instructions() if instruction == name]


def test_hadolint_finds_no_fault() -> None:
    hadolint = find_program("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed")
    done = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("", 0)


def test_its_ray_is_that_of_the_other_nodes() -> None:
    assert f"RAY_VERSION={ray.__version__}" in arguments_of("ARG")


def test_the_list_of_dependencies_that_it_installs_is_the_projects(tmp_path: Path) -> None:
    [step] = [arguments for arguments in arguments_of("RUN") if "tomllib" in arguments]
    words = shlex.split(step)
    script = words[words.index("-c") + 1].replace("/tmp/pyproject.toml", "pyproject.toml")
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extra = project["optional-dependencies"]["postgresql"]
    assert done.stdout.splitlines() == [*project["dependencies"], *extra]


def test_a_change_of_the_project_leaves_the_dependencies_layer() -> None:
    names = [
        "copy" if name == "COPY" else "dependencies"
        for name, arguments in instructions()
        if name == "COPY" or "requirements.txt" in arguments
    ]
    assert names == ["dependencies", "copy"]


def test_it_runs_as_the_user_of_the_kubernetes_files() -> None:
    [user] = arguments_of("USER")
    text = (ROOT / "cluster/kuberay/ray_cluster/ray_cluster.yaml").read_text(encoding="utf-8")
    pod = yaml.safe_load(text)["spec"]["headGroupSpec"]["template"]["spec"]
    security = pod["securityContext"]
    assert user == f"{security['runAsUser']}:{security['runAsGroup']}"


def test_secrets_results_and_environments_stay_out_of_it() -> None:
    ignored = DOCKERFILE.with_suffix(".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {".git", ".venv", ".env", "results", "models", "data"} <= set(ignored)


def test_the_programs_of_the_kubernetes_files_come_with_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert "droplora-sweep" in project["scripts"]
    server = next(
        manifest
        for manifest in yaml.safe_load_all(
            (ROOT / "cluster/kuberay/base/mlflow.yaml").read_text(encoding="utf-8")
        )
        if manifest["kind"] == "Deployment"
    )
    container = server["spec"]["template"]["spec"]["containers"][0]
    done = subprocess.run(
        [find_program("mlflow") or "mlflow", "server", "--help"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert container["command"] == ["mlflow", "server"]
    for argument in container["args"]:
        assert argument.partition("=")[0] in done.stdout
