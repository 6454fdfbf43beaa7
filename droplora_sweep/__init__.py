"""DropLoRA hyperparameter sweeps on Ray: from a search space to the best pruning rate."""

__version__ = "0.1.0"
