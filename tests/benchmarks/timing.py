"""Fair timing on a shared machine: interleaved rounds, medians, ratios within a round."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from torch import nn


def interleaved_seconds(
    calls: Mapping[str, Callable[[], object]], *, rounds: int, warmup: int = 2
) -> dict[str, list[float]]:
    """Wall seconds of each call in each round; every round runs all calls, in turning order."""
    names = list(calls)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(-warmup, rounds):
        for place in range(len(names)):
            name = names[(place + turn) % len(names)]
            _synchronise()
            started_s = time.perf_counter()
            calls[name]()
            _synchronise()
            if turn >= 0:
                seconds[name].append(time.perf_counter() - started_s)
    return seconds


def ratio(ours: Iterable[float], theirs: Iterable[float]) -> tuple[float, float, float]:
    """Median and quartiles of ours / theirs, round by round."""
    quotients = [a / b for a, b in zip(ours, theirs, strict=True)]
    low, middle, high = statistics.quantiles(quotients, n=4)
    return middle, low, high


def activation_bytes(model: nn.Module, forward: Callable[[], torch.Tensor]) -> int:
    """Tensors that autograd keeps for the backward pass, without the model's own weights.

    Every storage counts once. It is what a method adds to peak memory while it trains, and it is
    exact, where the memory of a CPU process is not.
    """
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = forward()
    del loss
    return sum(kept.values())


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
