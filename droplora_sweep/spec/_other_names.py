"""What other programs call a field: names of PEFT, Transformers, DeepSpeed, Axolotl, LLaMA-Factory.

Spelling does not lead from these to ours: ``lora_dropout`` is nearer to ``lora_drop``.
"""

from __future__ import annotations

from typing import Final

OTHER_NAMES: Final = {
    "adapter.method": "init_lora_weights lora_type peft_type use_dora use_rslora",
    "adapter.rank": "lora_dim lora_r lora_rank r",
    "adapter.alpha": "lora_alpha lora_scale",
    "adapter.dropout": "lora_dropout",
    "adapter.pruning_rate": "drop_rate p prune_rate pruning pruning_ratio",
    "adapter.target_modules": "lora_target lora_target_modules targets",
    "evaluation.batch_size": "eval_batch_size per_device_eval_batch_size",
    "evaluation.max_new_tokens": "max_tokens",
    "evaluation.num_evaluations": "eval_steps",
    "group.num_workers": "num_gpus num_processes world_size",
    "model.dtype": "bf16 fp16 precision torch_dtype",
    "model.path": "base_model model_id model_name model_name_or_path",
    "model.quantization": "load_in_4bit load_in_8bit quantization_bit",
    "search.num_trials": "max_trials n_trials num_samples",
    "search.num_startup_trials": "n_startup_trials",
    "search.stopping": "early_stopping pruner scheduler",
    "storage": "output_dir results_dir",
    "task.benchmarks": "eval_dataset tasks",
    "task.data": "data_dir data_path dataset dataset_dir dataset_path",
    "task.num_train": "max_samples max_train_samples",
    "training.epochs": "num_epochs num_train_epochs",
    "training.global_batch_size": "batch_size total_batch_size train_batch_size",
    "training.gradient_checkpointing": "use_gradient_checkpointing",
    "training.learning_rate": "lr",
    "training.max_grad_norm": "clip_grad_norm gradient_clipping max_norm",
    "training.max_sequence_tokens": (
        "block_size cutoff_len max_length max_seq_length model_max_length sequence_len"
    ),
    "training.micro_batch_size": ("per_device_train_batch_size train_micro_batch_size_per_gpu"),
    "training.warmup_steps": "num_warmup_steps",
    "seed": "random_seed random_state",
}

_OURS: Final = {name: ours for ours, names in OTHER_NAMES.items() for name in names.split()}


def ours_of(name: str) -> str | None:
    """Dotted path of the field that other programs call so; None if it is no such name.

    >>> ours_of("lora_dropout"), ours_of("r"), ours_of("rank")
    ('adapter.dropout', 'adapter.rank', None)
    """
    return _OURS.get(name.lower())
