"""The Kubernetes files: as Kustomize renders them, against KubeRay's definitions and each other."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray
import yaml

from droplora_sweep.spec import load_sweep_file
from tests.programs import find_program

CLUSTER = Path(__file__).parents[2] / "cluster"
KUBERAY = CLUSTER / "kuberay"
FOLDERS = ["ray_cluster", "ray_job"]
KINDS = {"RayCluster": "ray.io_rayclusters.yaml", "RayJob": "ray.io_rayjobs.yaml"}
CASES = list(zip(FOLDERS, KINDS, strict=True))
SECRETS = {("postgres", "password"), ("hugging-face", "token")}
"""Made by hand; no file has a value of them."""

Manifest = dict[str, Any]


def read(folder: Path) -> list[Manifest]:
    """The files that a kustomization names, before Kustomize changes them."""
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
    manifests: list[Manifest] = []
    for resource in kustomization["resources"]:
        path = folder / resource
        if path.is_dir():
            manifests += read(path)
        else:
            manifests += yaml.safe_load_all(path.read_text(encoding="utf-8"))
    return manifests


def render(folder: Path) -> list[Manifest]:
    """The manifests as ``kubectl apply --kustomize`` sends them."""
    kubectl = find_program("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    done = subprocess.run(
        [kubectl, "kustomize", folder], check=True, capture_output=True, text=True, timeout=60
    )
    return list(yaml.safe_load_all(done.stdout))


def one(manifests: list[Manifest], kind: str) -> Manifest:
    [found] = [manifest for manifest in manifests if manifest["kind"] == kind]
    return found


def pods(manifests: list[Manifest]) -> list[Manifest]:
    """The specs of all pods, whatever makes them."""
    found = []
    stack: list[Any] = list(manifests)
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            if "containers" in node:
                found.append(node)
            stack += node.values()
        elif isinstance(node, list):
            stack += node
    return found


def cluster_spec(name: str) -> Manifest:
    manifests = read(KUBERAY / name)
    if name == "ray_cluster":
        return dict(one(manifests, "RayCluster")["spec"])
    return dict(one(manifests, "RayJob")["spec"]["rayClusterSpec"])


def strict(schema: Any) -> Any:
    """A structural schema as an API server reads it, with unknown fields refused, not dropped."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    made = {key: strict(value) for key, value in schema.items() if key != "format"}
    if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        made["additionalProperties"] = False
    return made


@cache
def definition(kind: str) -> Any:
    folder = Path(os.environ.get("DROPLORA_TEST_DATA", "")) / "kuberay"
    if not (folder / KINDS[kind]).is_file():
        pytest.skip(f"{folder}: DROPLORA_TEST_DATA names the benchmark files")
    # These files are a megabyte each.
    definition = yaml.load((folder / KINDS[kind]).read_bytes(), Loader=yaml.CSafeLoader)
    [version] = [one for one in definition["spec"]["versions"] if one["name"] == "v1"]
    schema = strict(version["schema"]["openAPIV3Schema"])
    # The API server checks these by rules of its own.
    schema["properties"]["metadata"] = {"type": "object"}
    return schema


def faults(manifest: Manifest) -> list[str]:
    """Faults that KubeRay's definition of its kind finds."""
    schema = definition(manifest["kind"])
    return [
        fault.message for fault in jsonschema.Draft202012Validator(schema).iter_errors(manifest)
    ]


@pytest.mark.parametrize(("folder", "kind"), CASES)
def test_it_obeys_kuberays_definition(folder: str, kind: str) -> None:
    manifest = one(read(KUBERAY / folder), kind)
    assert faults(manifest) == []

    [fault] = faults({**manifest, "spec": {**manifest["spec"], "rayVersio": "2"}})
    assert "'rayVersio' was unexpected" in fault
    [fault] = faults({**manifest, "spec": {**manifest["spec"], "suspend": "no"}})
    assert "'no' is not of type 'boolean'" in fault


@pytest.mark.parametrize(("folder", "kind"), CASES)
def test_kustomize_renders_what_obeys_it_too(folder: str, kind: str) -> None:
    manifests = render(KUBERAY / folder)
    assert faults(one(manifests, kind)) == []
    assert {manifest["metadata"]["namespace"] for manifest in manifests} == {"droplora-sweep"}
    images = {each["image"] for pod in pods(manifests) for each in pod["containers"]}
    assert images == {"registry.example.com/droplora-sweep:0.1.0", "postgres:17"}


def test_the_sweeps_file_is_in_the_map_that_the_head_mounts() -> None:
    manifests = render(KUBERAY / "ray_job")
    [sweep] = [each for each in manifests if each["metadata"]["name"] == "sweep"]
    head = cluster_spec("ray_job")["headGroupSpec"]["template"]["spec"]
    assert {"name": "sweep", "configMap": {"name": "sweep"}} in head["volumes"]
    [mount] = [
        each for each in head["containers"][0]["volumeMounts"] if each["mountPath"] == "/etc/sweep"
    ]
    assert mount["name"] == "sweep"
    assert one(manifests, "RayJob")["spec"]["entrypoint"].endswith(" /etc/sweep/sweep.yaml")
    assert sweep["data"] == {"sweep.yaml": (KUBERAY / "ray_job" / "sweep.yaml").read_text()}


def test_the_sweeps_file_is_valid_and_uses_what_the_cluster_has(tmp_path: Path) -> None:
    text = (KUBERAY / "ray_job" / "sweep.yaml").read_text(encoding="utf-8")
    here = text.replace("/opt/droplora-sweep", str(CLUSTER.parent))
    assert here != text
    (tmp_path / "sweep.yaml").write_text(here)
    sweep = load_sweep_file(tmp_path / "sweep.yaml", check_folders=False).sweep
    table5 = load_sweep_file(
        CLUSTER.parent / "search_spaces" / "paper" / "table5.yaml", needs_data=False
    ).sweep
    assert sweep.search.parameters == table5.search.parameters
    assert (sweep.name, sweep.adapter) == (table5.name, table5.adapter)
    services = {
        each["metadata"]["name"]: each["spec"]["ports"][0]["port"]
        for each in read(KUBERAY / "base")
        if each["kind"] == "Service"
    }
    assert sweep.tracking.mlflow_uri == f"http://mlflow:{services['mlflow']}"
    assert sweep.search.study == "postgresql://sweeps@postgres/optuna"
    assert services["postgres"] == 5432
    [worker] = cluster_spec("ray_job")["workerGroupSpecs"]
    [container] = worker["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] % sweep.group.num_workers == 0


def test_a_job_and_a_cluster_have_the_same_nodes() -> None:
    job, cluster = cluster_spec("ray_job"), cluster_spec("ray_cluster")
    head = job["headGroupSpec"]["template"]["spec"]
    head["volumes"] = [each for each in head["volumes"] if each["name"] != "sweep"]
    container = head["containers"][0]
    container["volumeMounts"] = [
        each for each in container["volumeMounts"] if each["name"] != "sweep"
    ]
    assert job == cluster


def test_all_nodes_have_one_ray_a_token_and_a_head_that_trains_nothing() -> None:
    spec = cluster_spec("ray_cluster")
    assert spec["rayVersion"] == ray.__version__
    assert spec["authOptions"] == {"mode": "token"}
    start = spec["headGroupSpec"]["rayStartParams"]
    assert (start["num-cpus"], start["num-gpus"]) == ("0", "0")


def test_a_job_whose_head_is_lost_is_run_again_on_the_same_storage() -> None:
    spec = one(read(KUBERAY / "ray_job"), "RayJob")["spec"]
    assert spec["backoffLimit"] > 0
    assert spec["shutdownAfterJobFinishes"]
    # With a selector, KubeRay makes no second try.
    assert "clusterSelector" not in spec
    sweep = yaml.safe_load((KUBERAY / "ray_job" / "sweep.yaml").read_text(encoding="utf-8"))
    head = spec["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    mounted = {each["mountPath"]: each["name"] for each in head["containers"][0]["volumeMounts"]}
    claims = {
        each["name"]: each["persistentVolumeClaim"]["claimName"]
        for each in head["volumes"]
        if "persistentVolumeClaim" in each
    }
    assert sweep["storage"].startswith("/sweeps/")
    assert claims[mounted["/sweeps"]] == "sweeps"


@pytest.mark.parametrize("folder", FOLDERS)
def test_groups_have_time_to_save_before_a_pod_is_killed(folder: str) -> None:
    spec = cluster_spec(folder)
    grace_s = load_sweep_file(
        CLUSTER.parent / "search_spaces" / "paper" / "table5.yaml", needs_data=False
    ).sweep.group.grace_s
    head = spec["headGroupSpec"]["template"]["spec"]
    [stop] = [
        float(each["value"])
        for each in head["containers"][0]["env"]
        if each["name"] == "RAY_JOB_STOP_WAIT_TIME_S"
    ]
    workers = [each["template"]["spec"] for each in spec["workerGroupSpecs"]]
    for pod in (head, *workers):
        assert pod["terminationGracePeriodSeconds"] > stop > grace_s


@pytest.mark.parametrize("folder", FOLDERS)
def test_what_pods_name_is_there_and_secrets_have_no_value(folder: str) -> None:
    manifests = read(KUBERAY / folder)
    assert not [each for each in manifests if each["kind"] == "Secret"]
    there = {(each["kind"], each["metadata"]["name"]) for each in manifests}
    there.add(("ConfigMap", "sweep"))
    for pod in pods(manifests):
        volumes = {each["name"] for each in pod["volumes"]}
        for volume in pod["volumes"]:
            if "persistentVolumeClaim" in volume:
                claim = volume["persistentVolumeClaim"]["claimName"]
                assert ("PersistentVolumeClaim", claim) in there
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in there
        for container in pod["containers"]:
            # A StatefulSet's own claims are volumes as well.
            mounts = {each["name"] for each in container["volumeMounts"]}
            assert mounts <= volumes | {"files"}
            for variable in container["env"]:
                secret = variable.get("valueFrom", {}).get("secretKeyRef")
                assert secret is None or (secret["name"], secret["key"]) in SECRETS
                named = variable["name"]
                assert (secret is None) != ("PASSWORD" in named or named.endswith("_TOKEN"))


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_pod_runs_as_root_or_gains_rights(folder: str) -> None:
    for pod in pods(read(KUBERAY / folder)):
        assert pod["securityContext"]["runAsNonRoot"]
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            }
            assert "memory" in container["resources"]["limits"]
