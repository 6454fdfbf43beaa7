"""The cluster launcher file obeys Ray's schema and describes groups that fit its nodes."""

import json
from pathlib import Path

import jsonschema
import pytest
import ray
import yaml

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())


@pytest.fixture
def config():
    return yaml.safe_load((ROOT / "cluster" / "aws.yaml").read_text())


def test_the_launcher_file_obeys_rays_schema(config):
    jsonschema.validate(config, SCHEMA)


def test_rays_schema_would_notice_a_wrong_key(config):
    with pytest.raises(jsonschema.ValidationError, match="max_wrkers"):
        jsonschema.validate({**config, "max_wrkers": 3}, SCHEMA)


def test_the_head_is_one_of_the_node_types_and_trains_nothing(config):
    head = config["available_node_types"][config["head_node_type"]]
    assert head["resources"] == {"CPU": 0}


def test_what_is_mounted_and_installed_is_the_project(config):
    (mounted,) = config["file_mounts"]
    assert any(mounted in command for command in config["setup_commands"])
    assert mounted.endswith("/droplora-sweep")
