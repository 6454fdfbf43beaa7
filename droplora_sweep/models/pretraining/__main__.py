"""Command line of the pretraining: one model directory from one seed."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from .card import write_model
from .train import PretrainingSettings, pretrain


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m droplora_sweep.models.pretraining",
        description="Pretrain the built-in model from a seed and write it with its model card.",
    )
    parser.add_argument("--output", type=Path, required=True, help="directory to write")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--steps", type=int, default=PretrainingSettings.steps)
    parser.add_argument("--threads", type=int, default=PretrainingSettings.num_threads)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    settings = PretrainingSettings(
        seed=arguments.seed, steps=arguments.steps, num_threads=arguments.threads
    )
    command = (
        f"python -m droplora_sweep.models.pretraining --output DIR --seed {settings.seed} "
        f"--steps {settings.steps} --threads {settings.num_threads}"
    )
    write_model(pretrain(settings), settings, command, arguments.output)


if __name__ == "__main__":
    main()
