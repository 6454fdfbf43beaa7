"""Private API of dependencies does on the installed versions what it is used for."""

from __future__ import annotations

import ast
import inspect
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
import pytest
import ray
import sacrebleu
import torch
from packaging.requirements import Requirement

from droplora_sweep import private_api
from droplora_sweep.groups.cluster import give_back_placement_groups

if TYPE_CHECKING:
    from collections.abc import Callable

PACKAGE = Path(private_api.__file__).parent
LIBRARIES = {
    Requirement(one).name.replace("-", "_")
    for one in metadata.requires("droplora-sweep") or ()
    if "extra ==" not in one
}
INTERNAL = {"_internal", "_private", "class_cache", "generated"}
"""Parts of the names of modules that Ray keeps for itself."""


@ray.remote(num_cpus=0)
class Ending:
    def reserve(self) -> bytes:
        group = ray.util.placement_group([{"CPU": 1}])
        ray.get(group.ready())
        return group.id.binary()

    def end(self) -> None:
        ray.actor.exit_actor()


def check_ray_on_loopback() -> None:
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER
    with private_api.ray_on_loopback():
        assert ray_constants.ENABLE_RAY_CLUSTER is False
    assert before == ray_constants.ENABLE_RAY_CLUSTER


START = """
import sys
from pathlib import Path
import ray
from droplora_sweep import private_api
folder = Path(sys.argv[1])
private_api.start_ray(
    folder, address="local", num_cpus=1, num_gpus=0, include_dashboard=False, log_to_driver=False
)
assert private_api.ray_session_folder().parent == folder
"""


def check_start_ray() -> None:
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    started = subprocess.run(
        [sys.executable, "-c", START, folder],
        env={name: text for name, text in os.environ.items() if name != "RAY_ADDRESS"},
        capture_output=True,
        text=True,
        check=False,
    )
    shutil.rmtree(folder, ignore_errors=True)
    assert started.returncode == 0, started.stderr


def check_ray_session_folder() -> None:
    folder = private_api.ray_session_folder()
    assert folder is not None
    assert (folder / "logs").is_dir()


def check_ray_cluster_config() -> None:
    assert private_api.ray_cluster_config() is None


def check_ray_death_cause() -> None:
    actor = Ending.remote()
    ray.wait([actor.end.remote()])
    cause = private_api.ray_death_cause(actor._actor_id.hex())
    assert cause.HasField("actor_died_error_context")
    assert not cause.HasField("oom_context")


def check_ray_placement_groups() -> None:
    actor = Ending.remote()
    reserved = ray.get(actor.reserve.remote())
    [group] = private_api.ray_placement_groups()
    assert group.placement_group_id == reserved
    assert group.creator_job_id.hex() == ray.get_runtime_context().get_job_id()
    assert group.creator_actor_id.hex() == actor._actor_id.hex()
    assert not group.creator_actor_dead
    assert not group.is_detached
    ray.wait([actor.end.remote()])
    assert give_back_placement_groups() == 1
    assert private_api.ray_placement_groups() == []


def check_ask_ray() -> None:
    private_api.ask_ray(ray.get_runtime_context().gcs_address)


def check_ray_bootstrap_address() -> None:
    address = ray.get_runtime_context().gcs_address
    assert private_api.ray_bootstrap_address(address) == address


def check_forget_ray_token() -> None:
    private_api.forget_ray_token()


def check_let_ray_train_propagate() -> None:
    from ray.train.v2._internal.constants import ENV_VARS_TO_PROPAGATE

    before = set(ENV_VARS_TO_PROPAGATE)
    private_api.let_ray_train_propagate("DROPLORA_TRIED")
    assert before ^ ENV_VARS_TO_PROPAGATE == {"DROPLORA_TRIED"}
    ENV_VARS_TO_PROPAGATE.remove("DROPLORA_TRIED")


def check_start_autoscaling_coordinator() -> None:
    private_api.start_autoscaling_coordinator()
    named = "AutoscalingCoordinator"
    assert ray.get_actor(named, namespace=named) is not None


def check_without_datasets() -> None:
    from ray.train.torch import TorchTrainer

    trainer = private_api.without_datasets(TorchTrainer)(print)
    plain = TorchTrainer(print)
    names = [type(one).__name__ for one in trainer._create_default_callbacks()]
    all_names = [type(one).__name__ for one in plain._create_default_callbacks()]
    assert names == [name for name in all_names if name != "DatasetsCallback"]
    assert len(names) == len(all_names) - 1


def check_keep_from_ray_tune() -> None:
    from ray.tune.execution.class_cache import ENV_VARS_TO_PROPAGATE

    ENV_VARS_TO_PROPAGATE.add("DROPLORA_TRIED")
    private_api.keep_from_ray_tune(["DROPLORA_TRIED"])
    assert "DROPLORA_TRIED" not in ENV_VARS_TO_PROPAGATE


def check_study_storage() -> None:
    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(storage=storage, study_name="mine")
    assert private_api.study_storage(study) is study._storage
    optuna.delete_study(study_name="mine", storage=private_api.study_storage(study))
    assert storage.get_all_studies() == []


def check_running_trial() -> None:
    study = optuna.create_study()
    study.ask()
    study.ask()
    trial = private_api.running_trial(study, 1)
    trial.report(0.5, step=1)
    assert [one.intermediate_values for one in study.trials] == [{}, {1: 0.5}]


def check_weight_version() -> None:
    weight = torch.zeros(3)
    before = private_api.weight_version(weight)
    weight.add_(1)
    assert private_api.weight_version(weight) > before


def check_register_lora_layers() -> None:
    from peft import LoraConfig, get_peft_model
    from peft.tuners.lora.layer import Linear

    class Mine(Linear):
        """A LoRA layer of ours."""

    model = torch.nn.Sequential(torch.nn.Linear(3, 3))
    config = LoraConfig(target_modules=["0"], r=2)
    private_api.register_lora_layers(config, {torch.nn.Linear: Mine})
    assert isinstance(get_peft_model(model, config).base_model.model[0], Mine)


def check_compile_nothing() -> None:
    from droplora_sweep.training.device import import_deepspeed

    deepspeed = import_deepspeed(torch.device("cpu"))
    private_api.compile_nothing(deepspeed)
    assert deepspeed.ops.__compatible_ops__["shm_comm"] is False


def check_frozen_weights_stay() -> None:
    """An engine gives all ranks what is trained, and the base where that is asked for."""
    import deepspeed.comm
    from deepspeed.runtime import engine as runtime

    from droplora_sweep.adapters.attaching import attach
    from droplora_sweep.spec import AdapterSpec
    from droplora_sweep.spec.trial import TrainingSpec
    from droplora_sweep.training.device import settle
    from droplora_sweep.training.engine import started_engine
    from tests.training.architectures import make

    device = settle(None)
    model = attach(make("llama").requires_grad_(False), AdapterSpec(rank=1), 1).model
    trained = sum(one.nbytes for one in model.parameters() if one.requires_grad)
    whole = sum(one.nbytes for one in model.parameters())
    sent: list[int] = []
    broadcast = deepspeed.comm.broadcast

    def counted(tensor, *args, **kwargs):
        sent.append(tensor.nbytes)
        return broadcast(tensor, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime.dist, "broadcast", counted)
        for shares_base, expected in ((False, trained), (True, whole)):
            sent.clear()
            with started_engine(model, TrainingSpec(), device, shares_base=shares_base):
                pass
            assert sum(sent) == expected
    assert not any(hasattr(one, "ds_optim_param") for one in model.parameters())


def check_zero_partitions() -> None:
    from droplora_sweep.spec.trial import TrainingSpec
    from droplora_sweep.training.device import settle
    from droplora_sweep.training.engine import Engine

    device = settle(None)
    model = torch.nn.Linear(4, 3, bias=False)
    engine = Engine(model, TrainingSpec(), device)
    parts, copies = private_api.zero_partitions(engine._engine.optimizer)
    assert [part.dtype for part in parts] == [torch.float32]
    assert torch.equal(parts[0][:12], model.weight.detach().flatten())
    assert torch.equal(copies[0][0][:12], model.weight.detach().flatten())
    engine.close()


def check_corpus_statistics() -> None:
    metric = sacrebleu.BLEU()
    said, right = ["a b c d e", "f g"], [["a b c d x", "f g"]]
    statistics = private_api.corpus_statistics(metric, said, right)
    sums = [sum(column) for column in zip(*statistics, strict=True)]
    score = metric.corpus_score(said, right).score
    assert private_api.corpus_score(metric, sums) == pytest.approx(score)


check_corpus_score = check_corpus_statistics


def check_upload_limit() -> None:
    assert private_api.upload_limit() == 512 << 20


def check_quiet_job_client() -> None:
    private_api.quiet_job_client()
    modules = "dashboard.modules.dashboard_sdk", "dashboard.modules.job.sdk"
    for name in (*modules, "_private.runtime_env.packaging"):
        module = f"ray.{name}"
        assert module in sys.modules
        assert not logging.getLogger(module).isEnabledFor(logging.INFO)


CHECKS: dict[str, Callable[[], None]] = {
    name.removeprefix("check_"): check
    for name, check in list(globals().items())
    if name.startswith("check_")
}


def test_each_has_a_check() -> None:
    functions = inspect.getmembers(private_api, inspect.isfunction)
    own = {name for name, one in functions if inspect.getmodule(one) is private_api}
    assert own == set(CHECKS)


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize("name", CHECKS)
def test_what_is_used_of_private_api_is_there(name: str) -> None:
    CHECKS[name]()


def own_names(code: ast.Module) -> set[str]:
    """Return the names of functions, classes, variables and attributes that a module defines."""
    own = set()
    for node in ast.walk(code):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            own.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            own.add(node.attr)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            own.add(node.id)
    return own


def private_names(code: ast.Module, own: set[str]) -> list[str]:
    """Return the names in a module that its dependencies keep for themselves."""
    found = []
    for node in ast.walk(code):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            parts = [*node.module.split("."), *(one.name for one in node.names)]
            if parts[0] in LIBRARIES:
                found += [one for one in parts if one.startswith("_") or one in INTERNAL]
        elif isinstance(node, ast.Import):
            parts = [part for one in node.names for part in one.name.split(".")]
            found += [one for one in parts if one.startswith("_") and parts[0] in LIBRARIES]
        elif isinstance(node, ast.keyword):
            found += [node.arg] if (node.arg or "").startswith("_") else []
        elif isinstance(node, ast.Attribute) and node.attr.startswith("_"):
            found += [] if node.attr.startswith("__") or node.attr in own else [node.attr]
    return found


def test_no_other_module_uses_private_api() -> None:
    modules = {file: ast.parse(file.read_text()) for file in PACKAGE.rglob("*.py")}
    own = {"_exit", *(name for code in modules.values() for name in own_names(code))}
    found = {
        f"{file.relative_to(PACKAGE)}: {name}"
        for file, code in modules.items()
        if file.name != "private_api.py"
        for name in private_names(code, own)
    }
    assert found == set()


def test_private_names_are_seen() -> None:
    code = """
import ray
from ray._raylet import GcsClient
from ray.tune.execution.class_cache import ENV_VARS_TO_PROPAGATE
ray.init(_temp_dir="x")
study._storage
self._mine = 3
self._mine
"""
    module = ast.parse(code)
    assert sorted(private_names(module, own_names(module))) == [
        "_raylet",
        "_storage",
        "_temp_dir",
        "class_cache",
    ]
