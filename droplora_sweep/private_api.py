"""Private API of dependencies: what is used of it, why, and in which version it was seen.

Private is a name that begins with an underscore, or one in a module that its project keeps for
itself. No other module uses such a name: after an upgrade ``tests/test_private_api.py`` names the
function below that broke. Each imports its library when it is called.
"""

from __future__ import annotations

import collections
import contextlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    import optuna
    import torch
    from peft import LoraConfig
    from torch import nn

T = TypeVar("T")


@contextlib.contextmanager
def ray_on_loopback() -> Iterator[None]:
    """Let what is started within it listen on the loopback interface alone.

    Ray 2.60: a constant decides, which an environment variable sets before Ray is imported.
    """
    from ray._private import ray_constants

    before, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def start_ray(folder: Path, **options: Any) -> None:
    """Start a Ray that writes into this folder.

    Ray 2.60: its own folder is open to every user of the machine (mode 0777).
    """
    import ray

    ray.init(_temp_dir=str(folder), **options)


def ray_session_folder() -> Path | None:
    """Return the folder of this node's logs and of objects that do not fit in memory.

    Ray 2.60: its public API has the session's name, but not the folder that it is in. None where
    this process is not on a node of the cluster.
    """
    import ray

    worker: Any = ray._private.worker
    node = worker._global_node
    return None if node is None else Path(node.get_session_dir_path())


def ray_cluster_config() -> Any:
    """Return the kinds of nodes that an autoscaler may start; None without one.

    Ray 2.60: `ray.nodes` has only those that run.
    """
    from ray._private.state import state

    return state.get_cluster_config()


def ray_death_cause(actor_id: str) -> Any:
    """Return what Ray knows of why an actor died, a protobuf message; None where it lives.

    Ray 2.60: exceptions carry a text alone, which does not say that memory had run out.
    """
    from ray._private.state import state

    return state.actor_table(actor_id).get("DeathCause")


def ray_placement_groups() -> list[Any]:
    """Return the placement groups that are not removed, as protobuf messages.

    Ray 2.60: `ray.util.placement_group_table` does not say whose they are, nor if that actor died.
    """
    from ray._private.state import state
    from ray.core.generated import gcs_pb2

    # Made by protobuf when it is imported, out of sight of type checkers.
    message: Any = vars(gcs_pb2)["PlacementGroupTableData"]
    table = state._connect_and_get_accessor().get_placement_group_table()
    groups = [message.FromString(raw) for raw in table]
    return [group for group in groups if group.state != message.REMOVED]


def ask_ray(address: str) -> None:
    """Ask the head of a Ray cluster to answer.

    Ray 2.60: `ray.init` tries again and again, for minutes.

    Raises:
        RayError: The process that listens there does not answer as Ray does.
    """
    from ray._raylet import GcsClient  # type: ignore[attr-defined]

    GcsClient(address=address)


def ray_bootstrap_address(address: str) -> str:
    """Return the address that ``auto`` means on this machine.

    Ray 2.60: `ray.init` finds it, but tells only once it is connected.

    Raises:
        ConnectionError: No Ray runs here.
    """
    from ray._private.services import canonicalize_bootstrap_address

    return str(canonicalize_bootstrap_address(address))


def forget_ray_token() -> None:
    """Let the next Ray that this process starts or joins have a token of its own.

    Ray 2.60: it reads its token once, and keeps it for as long as the process lives.
    """
    from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]

    AuthenticationTokenLoader.instance().reset_cache()


def let_ray_train_propagate(name: str) -> None:
    """Hand an environment variable on to Ray Train's controllers and workers.

    Ray 2.60: without the address, their helpers give up where a host has several Rays.
    """
    from ray.train.v2._internal.constants import ENV_VARS_TO_PROPAGATE

    ENV_VARS_TO_PROPAGATE.add(name)


def start_autoscaling_coordinator() -> None:
    """Start the actor to which Ray Train's controllers tell what they need; there is one a cluster.

    Ray 2.60: the first controller would start it, and wait for its imports, seconds each.
    """
    from ray.data._internal.cluster_autoscaler.default_autoscaling_coordinator import (
        get_or_create_autoscaling_coordinator,
    )

    get_or_create_autoscaling_coordinator()


def without_datasets(trainer: type[T]) -> type[T]:
    """Return a trainer of Ray Train for runs that have no data sets of Ray Data.

    Ray 2.60: it starts an actor for them, which imports Ray Data, where there are none too.
    """
    from ray.train.v2._internal.callbacks.datasets import DatasetsCallback

    class WithoutDatasets(trainer):  # type: ignore[misc, valid-type]
        """A trainer whose workers have no share of a data set."""

        def _create_default_callbacks(self) -> list[Any]:
            callbacks = super()._create_default_callbacks()
            return [one for one in callbacks if not isinstance(one, DatasetsCallback)]

    return WithoutDatasets


def keep_from_ray_tune(names: Collection[str]) -> None:
    """Hand these environment variables on to no trial of Ray Tune.

    Ray 2.60: it puts those of cloud storages into a runtime environment, which Ray logs.
    """
    from ray.tune.execution.class_cache import ENV_VARS_TO_PROPAGATE

    ENV_VARS_TO_PROPAGATE.difference_update(names)


def study_storage(study: optuna.Study) -> Any:
    """Return the storage that a study is in.

    Optuna 5.0: a study can be made anew under its name only with the storage that it was in.
    """
    return study._storage


def running_trial(study: optuna.Study, number: int) -> optuna.Trial:
    """Return the trial of this number, to report to although another process asked for it.

    Optuna 5.0: `Study.tell` takes numbers, but intermediate values need the trial's object.
    """
    import optuna

    [found] = [trial for trial in study.get_trials(deepcopy=False) if trial.number == number]
    return optuna.Trial(study, found._trial_id)


def weight_version(weight: torch.Tensor) -> int:
    """Return a number that each change of a tensor in place increases.

    torch 2.13: autograd's own counter; without it copies of a weight would have to be compared.
    """
    return weight._version


def register_lora_layers(
    config: LoraConfig, layers: Mapping[type[nn.Module], type[nn.Module]]
) -> None:
    """Let PEFT wrap base layers in LoRA layers of ours.

    PEFT 0.21: described in its guide for custom models, and experimental.
    """
    config._register_custom_module(dict(layers))


def compile_nothing(deepspeed: Any) -> None:
    """Let DeepSpeed take torch's collectives in place of its own.

    DeepSpeed 0.19: its shared-memory collective would be compiled when the first engine starts,
    for a minute and with a C++ compiler; no setting turns it off.
    """
    deepspeed.ops.__compatible_ops__ = collections.defaultdict(bool)


@contextlib.contextmanager
def frozen_weights_stay(model: nn.Module) -> Iterator[None]:
    """Let an engine that starts within it bring trainable weights alone from rank 0 to all ranks.

    DeepSpeed 0.19: it broadcasts every parameter each time, the frozen base included, but for
    those that are marked as one rank's part of a sharded layer.
    """
    frozen = [weight for weight in model.parameters() if not weight.requires_grad]
    for weight in frozen:
        weight.ds_optim_param = True  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for weight in frozen:
            del weight.ds_optim_param  # type: ignore[attr-defined]


def zero_partitions(optimizer: Any) -> tuple[list[torch.Tensor], list[list[torch.Tensor]]]:
    """Return what a ZeRO-2 optimiser keeps of each parameter group.

    DeepSpeed 0.19: its access by parameter needs three collectives for each, and loses the sign
    of zeros.

    Returns:
        This rank's part of the fp32 weights; every rank's part of the model's weights.
    """
    return optimizer.single_partition_of_fp32_groups, optimizer.parallel_partitioned_bit16_groups


def corpus_statistics(
    metric: Any, hypotheses: list[str], references: list[list[str | None]]
) -> list[list[float]]:
    """Return what a metric of sacrebleu sums up of each segment, to score any sample of them.

    sacrebleu 2.6: its own bootstrap does the same, but says the interval in a text alone.

    Args:
        metric: ``BLEU`` or ``CHRF``.
        hypotheses: Texts.
        references: Streams of references; None where a segment has fewer than others.
    """
    statistics: list[list[float]] = metric._extract_corpus_statistics(hypotheses, references)
    return statistics


def corpus_score(metric: Any, sums: Any) -> float:
    """Return the score in [0, 100] of summed statistics (see ``corpus_statistics``)."""
    return float(metric._compute_score_from_stats(list(sums)).score)


def upload_limit() -> int:
    """Return the bytes that Ray takes with a job.

    Ray 2.60: a constant of a private module, which follows an environment variable.
    """
    from ray._private.runtime_env import packaging

    return packaging.GCS_STORAGE_MAX_SIZE


def quiet_job_client() -> None:
    """Let Ray's client of jobs log warnings alone, and not each step of an upload.

    Ray 2.60: its modules set the level of their own loggers as they are imported.
    """
    from ray._private.runtime_env import packaging
    from ray.dashboard.modules import dashboard_sdk
    from ray.dashboard.modules.job import sdk

    for logger in (packaging.default_logger, dashboard_sdk.logger, sdk.logger):
        logger.setLevel(logging.WARNING)
