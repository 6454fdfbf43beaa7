"""An adapter merged into its base model on a node of a cluster."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from droplora_sweep.files import disk_faults_named
from droplora_sweep.groups.messages import Merging
from droplora_sweep.spec import ZeroSpec
from droplora_sweep.storage.file_set import described

from .group import lone_group

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from droplora_sweep.run.connection import RayAddress
    from droplora_sweep.spec import ModelSpec, SweepSpec


def merge_on_cluster(
    model: ModelSpec,
    adapter: Path,
    folder: Path,
    *,
    sweep: SweepSpec,
    address: RayAddress,
    say: Callable[[str], None],
) -> None:
    """Have one worker, without a GPU, write the merged model, and bring its files here.

    Args:
        model: The base model.
        adapter: Folder of a PEFT adapter on it.
        folder: Gets the files; exists.
        sweep: Has the CPUs of a worker.
        address: The cluster's.
        say: Shows the user one line.

    Raises:
        InputError: The cluster cannot hold the worker, or its node lacks the model.
        SweepError: There is no such cluster, or files cannot be written.
    """
    group = sweep.group.model_copy(
        update={"num_workers": 1, "gpus_per_worker": 0, "accelerator_type": None}
    )
    training = sweep.training.model_copy(update={"zero": ZeroSpec()})
    plain = model.model_copy(update={"quantization": "none"})
    update = {"group": group, "training": training, "model": plain}
    alone = sweep.model_copy(update=update)
    with lone_group(alone, address, say) as lone:
        say("merging on a worker of the cluster")
        spec = sweep.trial.model_copy(update={"model": plain, "training": training})
        files = lone.do(spec, Merging(described(adapter.resolve()))).files
        assert files is not None, "a merged model has files"
        with disk_faults_named(folder):
            for name in files.files:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.move(files.path(name), folder / name)
