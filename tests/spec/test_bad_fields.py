"""Every fault of a field is refused in one line that says where, which field, rule and value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from droplora_sweep.errors import InputError
from droplora_sweep.spec import load_sweep
from droplora_sweep.tasks.loading import load_task

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Refusal = Callable[..., list[str]]

FIELD_FAULTS = {
    "no_name": ("seed: 1\n", "s.yaml:1: name: must be given"),
    "bad_name": (
        "name: my sweep\n",
        "s.yaml:1: name: must be 1 to 64 letters, digits, `.`, `_` or `-`, "
        "beginning with a letter or digit, got 'my sweep'",
    ),
    "name_is_a_number": ("name: 12\n", "s.yaml:1: name: must be text, got 12"),
    "unknown_section": (
        "name: q\nadaptor:\n  rank: 8\n",
        "s.yaml:2: adaptor: unknown key, did you mean `adapter`?",
    ),
    "unknown_key": (
        "name: q\nadapter:\n  prunning_rate: 0.1\n",
        "s.yaml:3: adapter.prunning_rate: unknown key, did you mean `pruning_rate`?",
    ),
    "unlike_any_key": (
        "name: q\ntracking:\n  zzz: 1\n",
        "s.yaml:3: tracking.zzz: unknown key, known ones are mlflow_uri, experiment, notify",
    ),
    "merge_key": (
        "name: q\ntracking:\n  <<: {a: 1}\n",
        "s.yaml:3: tracking.<<: unknown key, known ones are mlflow_uri, experiment, notify",
    ),
    "empty_section": (
        "name: q\nadapter:\nseed: 1\n",
        "s.yaml:2: adapter: must be a mapping, got null",
    ),
    "section_is_a_list": (
        "name: q\nadapter:\n  - rank\n",
        "s.yaml:2: adapter: must be a mapping, got ['rank']",
    ),
    "integer_in_quotes": (
        'name: q\nadapter:\n  rank: "8"\n',
        "s.yaml:3: adapter.rank: must be an integer, got '8'",
    ),
    "integer_with_underscore": (
        "name: q\nadapter:\n  rank: 1_6\n",
        "s.yaml:3: adapter.rank: must be an integer, got '1_6'",
    ),
    "float_for_integer": (
        "name: q\nadapter:\n  rank: 8.0\n",
        "s.yaml:3: adapter.rank: must be an integer, got 8.0",
    ),
    "boolean_for_integer": (
        "name: q\nadapter:\n  rank: true\n",
        "s.yaml:3: adapter.rank: must be an integer, got true",
    ),
    "text_for_number": (
        "name: q\ntraining:\n  learning_rate: fast\n",
        "s.yaml:3: training.learning_rate: must be a number, got 'fast'",
    ),
    "no_is_text": (
        "name: q\nadapter:\n  rescale: no\n",
        "s.yaml:3: adapter.rescale: must be true or false, got 'no'",
    ),
    "null_for_a_count": (
        "name: q\nadapter:\n  rank: null\n",
        "s.yaml:3: adapter.rank: must be an integer, got null",
    ),
    "text_for_nullable_count": (
        "name: q\ntask:\n  num_train: all\n",
        "s.yaml:3: task.num_train: must be an integer or null, got 'all'",
    ),
    "rank_zero": (
        "name: q\nadapter:\n  rank: 0\n",
        "s.yaml:3: adapter.rank: must be at least 1, got 0",
    ),
    "alpha_zero": (
        "name: q\nadapter:\n  alpha: 0\n",
        "s.yaml:3: adapter.alpha: must be greater than 0, got 0",
    ),
    "pruning_rate_above_one": (
        "name: q\nadapter:\n  pruning_rate: 1.5\n",
        "s.yaml:3: adapter.pruning_rate: must be in [0, 1), got 1.5",
    ),
    "pruning_rate_negative": (
        "name: q\nadapter:\n  pruning_rate: -0.1\n",
        "s.yaml:3: adapter.pruning_rate: must be in [0, 1), got -0.1",
    ),
    "module_rate_out_of_bounds": (
        "name: q\nadapter:\n  module_pruning_rates:\n    mlp.up_proj: 1.0\n",
        "s.yaml:4: adapter.module_pruning_rates.mlp.up_proj: must be in [0, 1), got 1.0",
    ),
    "module_rate_no_number": (
        "name: q\nadapter:\n  module_pruning_rates: {q_proj: high}\n",
        "s.yaml:3: adapter.module_pruning_rates.q_proj: must be a number, got 'high'",
    ),
    "module_rates_no_mapping": (
        "name: q\nadapter:\n  module_pruning_rates: 0.5\n",
        "s.yaml:3: adapter.module_pruning_rates: must be a mapping, got 0.5",
    ),
    "threshold_out_of_bounds": (
        "name: q\nadapter:\n  lora_drop:\n    threshold: 0\n",
        "s.yaml:4: adapter.lora_drop.threshold: must be in (0, 1], got 0",
    ),
    "sampling_share_out_of_bounds": (
        "name: q\nadapter:\n  lora_drop:\n    sampling_share: 1\n",
        "s.yaml:4: adapter.lora_drop.sampling_share: must be in (0, 1), got 1",
    ),
    "nested_unknown_key": (
        "name: q\nadapter:\n  lora_drop:\n    thresholds: 0.5\n",
        "s.yaml:4: adapter.lora_drop.thresholds: unknown key, did you mean `threshold`?",
    ),
    "unknown_quantization": (
        "name: q\nmodel:\n  quantization: int8\n",
        "s.yaml:3: model.quantization: must be 'none', '4bit' or '8bit', got 'int8'",
    ),
    "unknown_schedule": (
        "name: q\nadapter:\n  pruning_schedule: step\n",
        "s.yaml:3: adapter.pruning_schedule: must be 'constant', 'linear' or 'cosine', got 'step'",
    ),
    "nullable_out_of_bounds": (
        "name: q\ngroup:\n  max_groups: 0\n",
        "s.yaml:3: group.max_groups: must be at least 1, got 0",
    ),
    "unknown_method": (
        "name: q\nadapter:\n  method: adalora\n",
        "s.yaml:3: adapter.method: must be 'droplora', 'lora', 'dora', 'pissa', 'milora', "
        "'rslora', 'lora_drop' or 'full', got 'adalora'",
    ),
    "no_benchmark": (
        "name: q\ntask:\n  benchmarks: []\n",
        "s.yaml:3: task.benchmarks: must not be empty, got []",
    ),
    "benchmark_not_listed": (
        "name: q\ntask:\n  benchmarks: builtin_math\n",
        "s.yaml:3: task.benchmarks: must be a list, got 'builtin_math'",
    ),
    "benchmark_is_a_path": (
        "name: q\ntask:\n  benchmarks:\n    - ../secret\n",
        "s.yaml:4: task.benchmarks[0]: must be 1 to 64 letters, digits, `.`, `_` or `-`, "
        "beginning with a letter or digit, got '../secret'",
    ),
    "benchmark_twice": (
        "name: q\ntask:\n  benchmarks:\n    - builtin_math\n    - builtin_math\n",
        "s.yaml:5: task.benchmarks[1]: must differ from the others, got 'builtin_math' twice",
    ),
    "stopping_without_kind": (
        "name: q\nsearch:\n  stopping:\n    grace_evaluations: 1\n",
        "s.yaml:3: search.stopping: must have a `kind`: asha, hyperband, median, futility or "
        "none, got {'grace_evaluations': 1}",
    ),
    "misplaced_stopping_option": (
        "name: q\nsearch:\n  stopping:\n    kind: none\n    grace_evaluations: 1\n",
        "s.yaml:5: search.stopping.grace_evaluations: unknown key, known ones are kind",
    ),
    "long_value_is_cut": (
        f"name: {'x' * 200}\n",
        "s.yaml:1: name: must be 1 to 64 letters, digits, `.`, `_` or `-`, "
        f"beginning with a letter or digit, got '{'x' * 56}...",
    ),
}


SWEEP_FAULTS = {
    "metric": (
        "name: q\nsearch:\n  metric: val/gsm8k\n",
        "s.yaml:3: search.metric: must be one of val/mean, val/builtin_choice, "
        "val/builtin_math, val/builtin_code, got 'val/gsm8k'",
    ),
    "likelihood_metric": (
        "name: q\nsearch:\n  metric: bits_per_byte/val/gsm8k\n",
        "s.yaml:3: search.metric: must be one of bits_per_byte/val/mean, "
        "bits_per_byte/val/builtin_choice, bits_per_byte/val/builtin_math, "
        "bits_per_byte/val/builtin_code, got 'bits_per_byte/val/gsm8k'",
    ),
    "too_few_tokens_at_once": (
        "name: q\ntraining:\n  max_sequence_tokens: 300\n  micro_batch_tokens: 300\n",
        "s.yaml:4: training.micro_batch_tokens: must be at least 304, "
        "`training.max_sequence_tokens` in multiples of 8, got 300",
    ),
    "tokens_that_cannot_be_halved": (
        "name: q\ntraining:\n  micro_batch_tokens: 2048\ngroup: {halve_micro_batch_on_oom: true}\n",
        "s.yaml:3: training.micro_batch_tokens: must be null with "
        "`group.halve_micro_batch_on_oom`, got 2048",
    ),
    "flash_attention_on_a_cpu": (
        "name: q\nmodel:\n  attention: flash_attention_2\n",
        "s.yaml:3: model.attention: must be another one without `group.gpus_per_worker: 1`, got "
        "'flash_attention_2'",
    ),
    "flash_attention_in_float32": (
        "name: q\nmodel:\n  attention: flash_attention_2\n  dtype: float32\n"
        "group: {gpus_per_worker: 1}\n",
        "s.yaml:3: model.attention: must be another one where `model.dtype` is float32, got "
        "'flash_attention_2'",
    ),
    "gpus_that_the_workers_of_a_group_share": (
        "name: q\ngroup:\n  num_workers: 2\n  gpus_per_worker: 0.5\n",
        "s.yaml:4: group.gpus_per_worker: must be 0 or 1 where a group has several workers, since "
        "NCCL refuses two of a group on one GPU, got 0.5 for 2 workers; groups of one worker "
        "(`group.num_workers: 1`) can share a GPU",
    ),
    "interface_of_no_name": (
        "name: q\ngroup:\n  network_interface: eth0,eth1\n",
        "s.yaml:3: group.network_interface: must be the name of one network interface, of at most "
        "15 characters without spaces, got 'eth0,eth1'",
    ),
    "placement": (
        "name: q\ngroup:\n  placement: packed\n",
        "s.yaml:3: group.placement: must be 'pack', 'strict_pack' or 'spread', got 'packed'",
    ),
    "stage_that_a_method_cannot_take": (
        "name: q\nadapter:\n  method: pissa\n  pruning_rate: 0.0\ntraining: {zero: {stage: 3}}\n",
        "s.yaml:3: adapter.method: must be another one with `training.zero.stage: 3`, got 'pissa', "
        "which decomposes whole base weights; with `stage: 2` it is possible",
    ),
    "stage_for_modules_that_are_copied": (
        "name: q\nadapter:\n  modules_to_save: [lm_head]\ntraining: {zero: {stage: 3}}\n",
        "s.yaml:3: adapter.modules_to_save: must be empty with `training.zero.stage: 3`, since "
        "whole modules are copied to be trained, got lm_head",
    ),
    "stage_for_4_bits": (
        "name: q\nmodel:\n  quantization: 4bit\ntraining: {zero: {stage: 3}}\n",
        "s.yaml:3: model.quantization: must be none with `training.zero.stage: 3`, which splits "
        "weights of one precision, got '4bit'; with `stage: 2` it is possible",
    ),
    "stage_of_vllm": (
        "name: q\nevaluation:\n  backend: vllm\ntraining: {zero: {stage: 3}}\n",
        "s.yaml:3: evaluation.backend: must be auto or transformers with `training.zero.stage: 3`, "
        "got 'vllm', which loads the whole model on every worker",
    ),
    "stage_of_one_worker": (
        "name: q\ngroup: {num_workers: 1}\ntraining:\n  zero: {stage: 3}\n",
        "s.yaml:4: training.zero.stage: must be 2 with one worker, which is all there is to split "
        "the weights over, got 3; `group.num_workers: 2` halves them, `training.zero.offload: cpu` "
        "keeps them in the CPU's memory",
    ),
    "stage_of_no_such_number": (
        "name: q\ntraining:\n  zero: {stage: 1}\n",
        "s.yaml:3: training.zero.stage: must be 2 or 3, got 1",
    ),
    "stage_3_of_a_whole_model_in_8_bits": (
        "name: q\nadapter: {method: full, pruning_rate: 0.0}\n"
        "training:\n  optimizer: adamw_8bit\n  zero: {stage: 3}\n",
        "s.yaml:4: training.optimizer: must be adamw with `training.zero.stage: 3` and `method: "
        "full`, whose weights are cut anywhere, got 'adamw_8bit'",
    ),
    "offload_of_8_bits": (
        "name: q\ntraining:\n  optimizer: adamw_8bit\n  zero: {offload: cpu}\n",
        "s.yaml:3: training.optimizer: must be adamw with `training.zero.offload: cpu`, got "
        "'adamw_8bit', which keeps its state where the weights are",
    ),
    "searched_stage": (
        "name: q\nsearch:\n  parameters:\n    training.zero.stage: {values: [2, 3]}\n",
        "s.yaml:4: search.parameters.training.zero.stage: cannot be searched: it must be the same "
        "in every trial of a sweep",
    ),
    "likelihood_that_is_not_measured": (
        "name: q\nsearch:\n  metric: bits_per_byte/val/mean\n",
        "s.yaml:3: search.metric: needs `evaluation.likelihood: true`, got "
        "'bits_per_byte/val/mean' and false",
    ),
    "likelihood_with_a_target": (
        "name: q\nevaluation:\n  likelihood: true\n"
        "search:\n  metric: bits_per_byte/val/mean\n  budget: {target_score: 0.5}\n",
        "s.yaml:6: search.budget.target_score: must be left out where `search.metric` is "
        "bits_per_byte/val/mean, which is no score, got 0.5",
    ),
    "warmup_of_two_lengths": (
        "name: q\ntraining:\n  warmup_ratio: 0.1\n  warmup_steps: 5\n",
        "s.yaml:3: training.warmup_ratio: must be left out where `training.warmup_steps` is given, "
        "which counts instead, got 0.1; set `training.warmup_steps: null` to use the ratio",
    ),
    "searched_warmup_that_does_not_count": (
        "name: q\ntraining: {warmup_steps: 5}\nsearch:\n  parameters:\n"
        "    training.warmup_ratio: {min: 0.01, max: 0.1}\n",
        "s.yaml:5: search.parameters.training.warmup_ratio.min: must be left out where "
        "`training.warmup_steps` is given, which counts instead, got 0.01; "
        "set `training.warmup_steps: null` to use the ratio",
    ),
    "warmup_of_a_whole_trial": (
        "name: q\ntraining: {warmup_ratio: 1.0}\n",
        "s.yaml:2: training.warmup_ratio: must be in [0, 1), got 1.0",
    ),
    "batch_below_workers": (
        "name: q\ntraining:\n  global_batch_size: 2\ngroup:\n  num_workers: 4\n",
        "s.yaml:3: training.global_batch_size: must be at least `group.num_workers`, "
        "got 2 for 4 workers",
    ),
    "hub_id_without_revision": (
        "name: q\nmodel:\n  path: meta-llama/Llama-2-7b-hf\n",
        "s.yaml:2: model.revision: must be given: the commit to use, since `model.path` is no "
        "folder here and so a Hub id, got 'meta-llama/Llama-2-7b-hf'",
    ),
    "revision_is_a_branch": (
        "name: q\nmodel:\n  path: org/model\n  revision: main\n",
        "s.yaml:4: model.revision: must be a commit of 40 hex digits, got 'main'",
    ),
    "revision_of_builtin": (
        f"name: q\nmodel:\n  revision: {'a' * 40}\n",
        f"s.yaml:3: model.revision: must be left out unless a Hub id is used, got '{'a' * 40}'",
    ),
    "missing_model_folder": (
        "name: q\nmodel:\n  path: ./no/such/model\n",
        "s.yaml:3: model.path: must be an existing folder, got './no/such/model'",
    ),
    "missing_data_folder": (
        "name: q\ntask:\n  benchmarks: [boolq]\n  data: /no/such/data\n",
        "s.yaml:4: task.data: must be an existing folder, got '/no/such/data'",
    ),
    "no_data_for_real_benchmark": (
        "name: q\ntask:\n  benchmarks: [boolq, builtin_math]\n",
        "s.yaml:2: task.data: must be given for boolq: the folder (or Hub id) that has "
        "boolq/train.json, e.g. --set task.data=FOLDER",
    ),
    "too_few_trials": (
        "name: q\nsearch:\n  parameters:\n    adapter.pruning_rate:\n      values: [0, 0.5]\n"
        "  num_trials: 1\n",
        "s.yaml:6: search.num_trials: must be at least 2, the baselines that are queued first, "
        "got 1",
    ),
}


ALL_FAULTS = FIELD_FAULTS | SWEEP_FAULTS


@pytest.mark.parametrize(("text", "line"), ALL_FAULTS.values(), ids=ALL_FAULTS.keys())
def test_one_fault_is_one_line(refusal: Refusal, text: str, line: str) -> None:
    assert refusal(text) == [line]


def test_all_faults_are_reported_at_once_in_the_order_of_the_file(refusal: Refusal) -> None:
    text = """\
name: q
seed: -1
adapter:
  rank: "8"
  alfa: 3
  dropout: .nan
training:
  epochs: 1
  epochs: 2
search:
  metric: val/none
  parameters:
    adapter.pruning_rate: {min: 0.0, max: 1.0}
    adapter.rank: {min: 8, max: 4}
    training.learning_rate: {values: [1e-4, 0]}
group:
  num_workers: two
"""

    assert refusal(text, "evaluation.num_evaluations=0") == [
        "s.yaml:2: seed: must be in [0, 2147483648), got -1",
        "s.yaml:4: adapter.rank: must be an integer, got '8'",
        "s.yaml:5: adapter.alfa: unknown key, did you mean `alpha`?",
        "s.yaml:6: adapter.dropout: must be a finite number, got .nan",
        "s.yaml:9: training.epochs: duplicate key, first given at s.yaml:8",
        "s.yaml:11: search.metric: must be one of val/mean, val/builtin_choice, "
        "val/builtin_math, val/builtin_code, got 'val/none'",
        "s.yaml:13: search.parameters.adapter.pruning_rate.max: must be in [0, 1), got 1.0",
        "s.yaml:14: search.parameters.adapter.rank: `min <= max` must hold, got min=8, max=4",
        "s.yaml:15: search.parameters.training.learning_rate.values[1]: "
        "must be greater than 0, got 0",
        "s.yaml:17: group.num_workers: must be an integer, got 'two'",
        "--set evaluation.num_evaluations=0: evaluation.num_evaluations: must be at least 1, got 0",
    ]


def test_an_unknown_benchmark_is_told_with_all_other_faults(refusal: Refusal) -> None:
    text = "name: q\nadapter: {rnk: 4}\ntask:\n  benchmarks: [boolq, bolq]\n"

    assert refusal(text) == [
        "s.yaml:2: adapter.rnk: unknown key, did you mean `rank`?",
        "s.yaml:3: task.data: must be given for boolq: the folder (or Hub id) that has "
        "boolq/train.json, e.g. --set task.data=FOLDER",
        "s.yaml:4: task.benchmarks[1]: unknown benchmark 'bolq'; did you mean boolq?",
    ]
    mapping = "    builtin_math: {max_new_tokens: 3}\n    bolq: null\n"
    text = f"name: q\nseed: -1\ntask:\n  benchmarks:\n{mapping}"
    assert refusal(text) == [
        "s.yaml:2: seed: must be in [0, 2147483648), got -1",
        "s.yaml:6: task.benchmarks.bolq: unknown benchmark 'bolq'; did you mean boolq?",
    ]


def test_an_unknown_benchmark_alone_is_left_to_the_reading_of_the_data(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("name: q\ntask: {benchmarks: [bolq]}\n")
    sweep = load_sweep(tmp_path / "s.yaml")
    with pytest.raises(InputError, match=r"task\.benchmarks: unknown benchmark 'bolq'"):
        load_task(sweep.task)


def test_a_fault_brings_no_second_one_that_only_follows_from_it(refusal: Refusal) -> None:
    text = "name: q\ntask:\n  benchmark: [gsm8k]\nsearch:\n  metric: val/gsm8k\n"

    assert refusal(text) == ["s.yaml:3: task.benchmark: unknown key, did you mean `benchmarks`?"]


OVERRIDE_FAULTS = {
    "bad_value": ("adapter.rank=0", "adapter.rank: must be at least 1, got 0"),
    "text": ("adapter.rank=eight", "adapter.rank: must be an integer, got 'eight'"),
    "module_rate": (
        "adapter.module_pruning_rates.mlp.up_proj=2",
        "adapter.module_pruning_rates.mlp.up_proj: must be in [0, 1), got 2",
    ),
    "module_rate_domain": (
        "search.parameters.adapter.module_pruning_rates.mlp.up_proj={min: 0.0, max: 1.5}",
        "search.parameters.adapter.module_pruning_rates.mlp.up_proj.max: must be in [0, 1), "
        "got 1.5",
    ),
    "unknown_key": ("adapter.rnk=8", "adapter.rnk: unknown key, did you mean `rank`?"),
    "unknown_section": ("adaptr.rank=8", "adaptr: unknown key, did you mean `adapter`?"),
    "no_equals": ("adapter.rank", "must be `path=value`, e.g. adapter.rank=8"),
    "no_path": ("=8", "must be `path=value`, e.g. adapter.rank=8"),
    "below_a_value": ("name.x=1", "name.x: `name` is not a mapping"),
    "tag": ("seed=!!int 3", "seed: YAML tags are refused, got !!int"),
    "nan": ("adapter.alpha=.nan", "adapter.alpha: must be a finite number, got .nan"),
    "broken_yaml": (
        "task.benchmarks=[a",
        "task.benchmarks: is not valid YAML: while parsing a flow sequence "
        "expected ',' or ']', but got '<stream end>'",
    ),
    "inside_a_mapping": ("adapter={rank: 0}", "adapter.rank: must be at least 1, got 0"),
    "searched_field": (
        "adapter.alpha=8",
        "adapter.alpha: is searched, so this has no effect; "
        "fix it with --set search.parameters.adapter.alpha=null as well",
    ),
    "domain": (
        "search.parameters.adapter.alpha.values=[0]",
        "search.parameters.adapter.alpha.values[0]: must be greater than 0, got 0",
    ),
}


@pytest.mark.parametrize(
    ("override", "problem"), OVERRIDE_FAULTS.values(), ids=OVERRIDE_FAULTS.keys()
)
def test_a_fault_of_an_override_names_the_override(
    refusal: Refusal, override: str, problem: str
) -> None:
    text = "name: q\nsearch:\n  parameters:\n    adapter.alpha: {values: [8, 16]}\n"

    assert refusal(text, override) == [f"--set {override}: {problem}"]
