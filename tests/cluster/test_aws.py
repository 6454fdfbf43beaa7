"""Ray's own provider starts each type of node of ``aws.yaml``, at a server of EC2's API."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import yaml
from moto import mock_aws
from ray.autoscaler._private.commands import _bootstrap_config
from ray.autoscaler._private.providers import _get_node_provider

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow

LAUNCHER = Path(__file__).parents[2] / "cluster" / "aws.yaml"
PROFILE = "droplora-sweep"


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """An account with the instance profile that aws.md makes."""
    (tmp_path / ".ssh").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        iam = boto3.client("iam")
        iam.create_role(RoleName=PROFILE, AssumeRolePolicyDocument="{}")
        iam.create_instance_profile(InstanceProfileName=PROFILE)
        iam.add_role_to_instance_profile(InstanceProfileName=PROFILE, RoleName=PROFILE)
        yield


def bootstrapped(launcher: dict[str, Any]) -> dict[str, Any]:
    return dict(_bootstrap_config(copy.deepcopy(launcher), no_config_cache=True))


def test_ray_starts_every_type_of_node(account: None) -> None:
    launcher = yaml.safe_load(LAUNCHER.read_text(encoding="utf-8"))
    config = bootstrapped(launcher)
    provider = _get_node_provider(config["provider"], config["cluster_name"])
    for name, node in config["available_node_types"].items():
        provider.create_node(node["node_config"], {"ray-node-name": name}, 1)

    reservations = boto3.client("ec2").describe_instances()["Reservations"]
    started = [instance for each in reservations for instance in each["Instances"]]
    asked = [node["node_config"] for node in launcher["available_node_types"].values()]
    assert [each["InstanceType"] for each in started] == [each["InstanceType"] for each in asked]
    for instance, node in zip(started, asked, strict=True):
        # Neither a fixed old image in its place, nor no rights for a worker.
        assert instance["ImageId"] == node["ImageId"]
        assert instance["IamInstanceProfile"]["Arn"].endswith(f"instance-profile/{PROFILE}")
        spot = "InstanceMarketOptions" in node
        assert (instance.get("InstanceLifecycle") == "spot") == spot


def test_resources_are_those_that_ec2_lists_for_the_machines(account: None) -> None:
    launcher = yaml.safe_load(LAUNCHER.read_text(encoding="utf-8"))
    bare = copy.deepcopy(launcher)
    for node in bare["available_node_types"].values():
        node["resources"] = {}
    listed = bootstrapped(bare)["available_node_types"]
    for name, node in launcher["available_node_types"].items():
        if name != launcher["head_node_type"]:
            resources = {key: listed[name]["resources"][key] for key in node["resources"]}
            assert resources == node["resources"]
