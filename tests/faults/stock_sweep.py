"""The stock combination: Ray Tune with Optuna, a Ray Train run per trial, MLflow's logger callback.

It follows Ray's own recipe for Tune with Train. Each trial trains three rounds of a toy model, so
that what is measured is the combination. Run again with ``--restore``, it goes on by
``Tuner.restore``.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import optuna
import ray
from ray import train, tune
from ray.air.integrations.mlflow import MLflowLoggerCallback
from ray.train.torch import TorchTrainer
from ray.tune.integration.ray_train import TuneReportCallback
from ray.tune.search import ConcurrencyLimiter
from ray.tune.search.optuna import OptunaSearch

NAME = "stock"
NUM_ROUNDS = 3
METRIC = "score"


def train_rounds(config: dict[str, Any]) -> None:
    """Fit a line for some rounds, a second each, and report each round's score."""
    import torch
    from ray.train.torch import prepare_model

    model = prepare_model(torch.nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=config["learning_rate"])
    for round_ in range(1, NUM_ROUNDS + 1):
        loss = model(torch.ones(8, 4)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        time.sleep(1)
        score = math.nan if config["gives_nan"] else -float(loss.detach())
        train.report({METRIC: score, "round": round_})
    with Path(config["done"]).open("a") as done:
        done.write(json.dumps({"learning_rate": config["learning_rate"]}) + "\n")


def run_trial(config: dict[str, Any]) -> None:
    """One trial as the recipe has it: a Ray Train run of its own."""
    trial_id = tune.get_context().get_trial_id()
    TorchTrainer(
        train_rounds,
        train_loop_config=config,
        scaling_config=train.ScalingConfig(num_workers=1, resources_per_worker={"CPU": 1}),
        run_config=train.RunConfig(
            name=f"train-{trial_id}",
            storage_path=config["train_storage"],
            callbacks=[TuneReportCallback()],
        ),
    ).fit()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--num-trials", type=int, default=4)
    parser.add_argument("--tracking-uri", required=True)
    parser.add_argument("--ray-folder", required=True)
    parser.add_argument("--restore", action="store_true")
    parser.add_argument("--gives-nan", action="store_true")
    arguments = parser.parse_args()

    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        _temp_dir=arguments.ray_folder,
    )
    tuner = _restored(arguments) if arguments.restore else _fresh(arguments)
    results = tuner.fit()
    print(json.dumps({"num_results": len(results), "num_errors": results.num_errors}))  # noqa: T201


def _trainable() -> Any:
    return tune.with_resources(run_trial, {"CPU": 0.5})


def _fresh(arguments: argparse.Namespace) -> tune.Tuner:
    storage = optuna.storages.RDBStorage(f"sqlite:///{arguments.folder / 'optuna.db'}")
    search = OptunaSearch(metric=METRIC, mode="max", storage=storage, study_name=NAME)
    return tune.Tuner(
        _trainable(),
        param_space={
            "learning_rate": tune.loguniform(1e-4, 1e-2),
            "gives_nan": arguments.gives_nan,
            "done": str(arguments.folder / "done.jsonl"),
            "train_storage": str(arguments.folder / "train"),
        },
        tune_config=tune.TuneConfig(
            search_alg=ConcurrencyLimiter(search, max_concurrent=1),
            num_samples=arguments.num_trials,
        ),
        run_config=tune.RunConfig(
            name=NAME,
            storage_path=str(arguments.folder / "tune"),
            callbacks=[
                MLflowLoggerCallback(tracking_uri=arguments.tracking_uri, experiment_name=NAME)
            ],
            verbose=0,
        ),
    )


def _restored(arguments: argparse.Namespace) -> tune.Tuner:
    return tune.Tuner.restore(
        str(arguments.folder / "tune" / NAME), _trainable(), resume_unfinished=True
    )


if __name__ == "__main__":
    main()
