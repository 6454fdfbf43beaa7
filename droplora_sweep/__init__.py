"""DropLoRA hyperparameter sweeps on Ray: from a search space to the best pruning rate."""
