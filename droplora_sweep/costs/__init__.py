"""What trials cost before they are run: memory of a GPU, arithmetic, seconds; pure functions."""

from .gpus import GPUS, Gpu, smallest_gpu
from .memory import GIB, Memory, training_memory
from .pace import Pace
from .work import ASSUMED_UTILISATION, flops_per_token, gpu_hours, most_tokens, trial_flops

__all__ = [
    "ASSUMED_UTILISATION",
    "GIB",
    "GPUS",
    "Gpu",
    "Memory",
    "Pace",
    "flops_per_token",
    "gpu_hours",
    "most_tokens",
    "smallest_gpu",
    "training_memory",
    "trial_flops",
]
