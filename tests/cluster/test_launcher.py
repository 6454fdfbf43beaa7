"""The launcher files obey Ray's schema, agree with the package, and fit the paper's sweeps."""

from __future__ import annotations

import json
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray
import yaml
from packaging.requirements import Requirement

from droplora_sweep.plan.plan import make_plan
from droplora_sweep.plan.plan_costs import Assumed, find_gpu
from droplora_sweep.plan.survey import survey
from droplora_sweep.spec import load_sweep_file

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
SCHEMA = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
LAUNCHERS = ["aws", "gcp", "on_prem"]
CLOUDS = ["aws", "gcp"]
PAPER = sorted((ROOT / "search_spaces" / "paper").glob("*.yaml"))
MACHINES = {
    "g6e.12xlarge": (48, 4, "L40S"),
    "p4d.24xlarge": (96, 8, "A100"),
    "p5.48xlarge": (192, 8, "H100"),
    "a2-highgpu-4g": (48, 4, "A100"),
    "a3-highgpu-8g": (208, 8, "H100"),
}
"""CPUs, GPUs and their kind, of the clouds' lists of machines."""

Launcher = dict[str, Any]


def load(name: str) -> Launcher:
    return dict(yaml.safe_load((CLUSTER / f"{name}.yaml").read_text(encoding="utf-8")))


def gpu_types(launcher: Launcher) -> list[dict[str, Any]]:
    types = launcher["available_node_types"]
    return [one for name, one in types.items() if name != launcher["head_node_type"]]


@pytest.mark.parametrize("name", LAUNCHERS)
def test_the_launcher_file_obeys_rays_schema(name: str) -> None:
    jsonschema.validate(load(name), SCHEMA)


def test_rays_schema_would_notice_a_wrong_key() -> None:
    with pytest.raises(jsonschema.ValidationError, match="max_wrkers"):
        jsonschema.validate({**load("aws"), "max_wrkers": 3}, SCHEMA)


@pytest.mark.parametrize("name", LAUNCHERS)
def test_the_head_trains_nothing(name: str) -> None:
    launcher = load(name)
    assert "--num-cpus=0 --num-gpus=0" in launcher["head_start_ray_commands"][-1]
    if name in CLOUDS:
        head = launcher["available_node_types"][launcher["head_node_type"]]
        assert head["resources"] == {"CPU": 0, "GPU": 0}


@pytest.mark.parametrize("name", LAUNCHERS)
def test_every_node_gets_the_project_and_both_tokens(name: str) -> None:
    launcher = load(name)
    mounts = launcher["file_mounts"]
    assert mounts["~/droplora-sweep"] == "."
    for token in ("~/.ray/auth_token", "~/.cache/huggingface/token"):
        assert mounts[token] == token
    assert "HF_TOKEN" not in json.dumps(launcher)
    for commands in (launcher["head_start_ray_commands"], launcher["worker_start_ray_commands"]):
        for command in commands:
            assert re.match(r"\. ~/\.droplora-sweep\.sh; (?:export \w+=0; )?ray st", command)


@pytest.mark.parametrize("name", LAUNCHERS)
def test_all_nodes_have_the_ray_that_the_package_is_tested_with(name: str) -> None:
    *_, command = load(name)["setup_commands"]
    match = re.fullmatch(r"bash ~/droplora-sweep/cluster/setup_node\.sh (\S+)", command)
    assert match is not None
    assert match[1] == ray.__version__
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = [Requirement(text) for text in project["dependencies"]]
    [needed] = [one for one in requirements if one.name == "ray"]
    assert match[1] in needed.specifier


@pytest.mark.parametrize("name", CLOUDS)
def test_each_type_of_node_has_the_resources_of_its_machine(name: str) -> None:
    for node in gpu_types(load(name)):
        config = node["node_config"]
        cpus, gpus, kind = MACHINES[config.get("InstanceType") or config["machineType"]]
        assert node["resources"] == {"CPU": cpus, "GPU": gpus, f"accelerator_type:{kind}": 1}


@pytest.mark.parametrize("name", CLOUDS)
def test_each_kind_of_gpu_is_there_on_demand_and_as_spot(name: str) -> None:
    def kinds(*, spot: bool) -> set[str]:
        return {
            next(key for key in node["resources"] if key.startswith("accelerator_type:"))
            for node in gpu_types(load(name))
            if any(word in json.dumps(node["node_config"]) for word in ("spot", "SPOT")) == spot
        }

    assert kinds(spot=True) == kinds(spot=False) != set()


@pytest.mark.parametrize("name", CLOUDS)
def test_every_node_can_reach_the_bucket_and_has_a_new_image(name: str) -> None:
    for node in load(name)["available_node_types"].values():
        config = node["node_config"]
        if name == "aws":
            assert config["IamInstanceProfile"] == {"Name": "droplora-sweep"}
            assert config["ImageId"].startswith("resolve:ssm:/aws/service/deeplearning/ami/x86_64/")
        else:
            assert config["serviceAccounts"][0]["email"].startswith("droplora-sweep@")
            [disk] = config["disks"]
            assert "/global/images/family/common-" in disk["initializeParams"]["sourceImage"]


@cache
def spaces_that_fit(kind: str) -> frozenset[str]:
    """The paper's spaces all of whose settings fit into a GPU, by ``plan``."""
    fitting = set()
    for file in PAPER:
        found = survey(load_sweep_file(file, needs_data=False))
        made = make_plan(found, (), Assumed(find_gpu(kind), None, 0.4))
        assert made.costs is not None
        if made.costs.misfit is None:
            fitting.add(file.stem)
    return frozenset(fitting)


@pytest.mark.parametrize("name", CLOUDS)
def test_each_kind_of_gpu_fits_the_spaces_that_its_page_says(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    page = (CLUSTER / "README.md").read_text(encoding="utf-8")
    said = dict(re.findall(r"^\| (\w+), \d+ GB \| (.+?) \|", page, re.M))
    kinds = {MACHINES[_machine(node)][2] for node in gpu_types(load(name))}
    for kind in kinds:
        named = set(re.findall(r"`(\w+)`", said[kind]))
        fitting = spaces_that_fit(kind)
        assert fitting, f"no space of the paper fits into {kind}"
        assert named == ({"all"} if len(fitting) == len(PAPER) else fitting)


def _machine(node: dict[str, Any]) -> str:
    config = node["node_config"]
    return str(config.get("InstanceType") or config["machineType"])


@pytest.mark.parametrize("name", CLOUDS)
def test_each_node_holds_a_whole_group_of_the_paper(name: str) -> None:
    sizes = {load_sweep_file(file, needs_data=False).sweep.group.num_workers for file in PAPER}
    assert all(
        node["resources"]["GPU"] % size == 0 for node in gpu_types(load(name)) for size in sizes
    )
