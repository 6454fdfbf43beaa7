"""Every fault is refused in one line that says where, which field, rule and value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from droplora_sweep.errors import InputError
from droplora_sweep.spec import load_sweep

if TYPE_CHECKING:
    from pathlib import Path


def refusal(folder: Path, text: str | bytes, *overrides: str) -> list[str]:
    """The lines that refuse a file, without the folder it is in."""
    file = folder / "s.yaml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(InputError) as caught:
        load_sweep(file, overrides)
    return str(caught.value).replace(f"{folder}/", "").splitlines()


def searching(field: str, *lines: str) -> str:
    """A file that searches one field; its domain begins on line 5."""
    return "\n".join(["name: q", "search:", "  parameters:", f"    {field}:", *lines, ""])


YAML_FAULTS = {
    "empty": ("", "s.yaml:1: must be a mapping of fields, got nothing"),
    "only_comments": ("# nothing\n", "s.yaml:1: must be a mapping of fields, got nothing"),
    "list": ("- name: q\n", "s.yaml:1: must be a mapping of fields, got a list"),
    "scalar": ("quickstart\n", "s.yaml:1: must be a mapping of fields, got a single value"),
    "two_documents": (
        "name: q\n---\nname: r\n",
        "s.yaml:2: must be a single document, found another one",
    ),
    "duplicate_key": (
        "name: q\nadapter:\n  rank: 8\n  rank: 16\n",
        "s.yaml:4: adapter.rank: duplicate key, first given at s.yaml:3",
    ),
    "python_tag": (
        "name: !!python/object/apply:os.system ['true']\n",
        "s.yaml:1: name: YAML tags are refused, got !!python/object/apply:os.system",
    ),
    "python_tag_at_top": (
        "!!python/object:builtins.dict {name: q}\n",
        "s.yaml:1: YAML tags are refused, got !!python/object:builtins.dict",
    ),
    "custom_tag": ("name: !env NAME\n", "s.yaml:1: name: YAML tags are refused, got !env"),
    "standard_tag": (
        'name: q\nseed: !!int "8"\n',
        "s.yaml:2: seed: YAML tags are refused, got !!int",
    ),
    "tag_on_key": ("name: q\n!!str seed: 1\n", "s.yaml:2: YAML tags are refused, got !!str"),
    "mapping_as_key": ("name: q\n{a: b}: 1\n", "s.yaml:2: keys must be text"),
    "unbalanced": (
        "name: q\ntask:\n  benchmarks: [a\n",
        "s.yaml:4: is not valid YAML: while parsing a flow sequence "
        "expected ',' or ']', but got '<stream end>'",
    ),
    "tab": (
        "name: q\nadapter:\n\trank: 8\n",
        "s.yaml:3: is not valid YAML: while scanning for the next token "
        r"found character '\t' that cannot start any token",
    ),
    "control_character": (
        "name: q\nstorage: a\x07b\n",
        "s.yaml:2: must not contain the character U+0007",
    ),
    "not_utf8": (b"name: q\nstorage: \xff\n", "s.yaml: must be UTF-8, got the byte 0xff"),
    "utf16": ("name: q\n".encode("utf-16"), "s.yaml: must be UTF-8, got the byte 0xff"),
    "too_large": ("#" * 100_001, "s.yaml: must be at most 100,000 bytes long"),
    "too_deep": (
        "name: q\nstorage: " + "[" * 500,
        "s.yaml:2: must not be nested more than 20 deep",
    ),
    "nan": (
        "name: q\nadapter:\n  dropout: .nan\n",
        "s.yaml:3: adapter.dropout: must be a finite number, got .nan",
    ),
    "infinity": (
        "name: q\nadapter:\n  alpha: -.inf\n",
        "s.yaml:3: adapter.alpha: must be a finite number, got -.inf",
    ),
    "overflow": (
        "name: q\nadapter:\n  alpha: 1e999\n",
        "s.yaml:3: adapter.alpha: must be a finite number, got 1e999",
    ),
    "huge_integer": (
        f"name: q\nseed: {'9' * 5000}\n",
        "s.yaml:2: seed: must have at most 18 digits, got 5000",
    ),
}

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
        "s.yaml:3: tracking.zzz: unknown key, known ones are mlflow_uri",
    ),
    "merge_key": (
        "name: q\ntracking:\n  <<: {a: 1}\n",
        "s.yaml:3: tracking.<<: unknown key, known ones are mlflow_uri",
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
        "s.yaml:3: search.stopping: must have `kind: asha` or `kind: none`, "
        "got {'grace_evaluations': 1}",
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
        searching("adapter.pruning_rate", "      values: [0, 0.5]", "  num_trials: 1"),
        "s.yaml:6: search.num_trials: must be at least 2, the baselines that are queued first, "
        "got 1",
    ),
}

PRUNING, RANK = "adapter.pruning_rate", "adapter.rank"
PARAMETER_FAULTS = {
    "min_above_max": (
        searching(RANK, "      min: 8", "      max: 4"),
        "s.yaml:4: search.parameters.adapter.rank: `min <= max` must hold, got min=8, max=4",
    ),
    "only_min": (
        searching(RANK, "      min: 8"),
        "s.yaml:4: search.parameters.adapter.rank.max: must be given",
    ),
    "no_domain": (
        searching(RANK, "      step: 8"),
        "s.yaml:4: search.parameters.adapter.rank: must have `values`, or `min` and `max`, "
        "got {'step': 8}",
    ),
    "scalar_domain": (
        "name: q\nsearch:\n  parameters:\n    adapter.rank: 8\n",
        "s.yaml:4: search.parameters.adapter.rank: must have `values`, or `min` and `max`, got 8",
    ),
    "values_and_min": (
        searching(RANK, "      values: [8]", "      min: 8"),
        "s.yaml:6: search.parameters.adapter.rank.min: unknown key beside `values`",
    ),
    "no_values": (
        searching(RANK, "      values: []"),
        "s.yaml:5: search.parameters.adapter.rank.values: must not be empty, got []",
    ),
    "values_not_a_list": (
        searching(RANK, "      values: 8"),
        "s.yaml:5: search.parameters.adapter.rank.values: must be a list, got 8",
    ),
    "value_twice": (
        searching(RANK, "      values: [8, 4, 8]"),
        "s.yaml:5: search.parameters.adapter.rank.values: must differ from each other, got 8 twice",
    ),
    "nested_value": (
        searching(RANK, "      values:", "        - 8", "        - [4]"),
        "s.yaml:7: search.parameters.adapter.rank.values[1]: "
        "must be a number, text, true or false, got [4]",
    ),
    "text_for_min": (
        searching(RANK, "      min: one", "      max: 8"),
        "s.yaml:5: search.parameters.adapter.rank.min: must be a number, got 'one'",
    ),
    "negative_step": (
        searching(PRUNING, "      min: 0.0", "      max: 0.5", "      step: -0.1"),
        "s.yaml:7: search.parameters.adapter.pruning_rate.step: must be greater than 0, got -0.1",
    ),
    "step_misses_max": (
        searching(PRUNING, "      min: 0.0", "      max: 0.5", "      step: 0.2"),
        "s.yaml:4: search.parameters.adapter.pruning_rate: `max` must be `min` plus a whole "
        "number of steps, got min=0.0, max=0.5, step=0.2",
    ),
    "step_with_log": (
        searching(RANK, "      {min: 1, max: 8, step: 1, scale: log}"),
        "s.yaml:5: search.parameters.adapter.rank.step: must be left out with `scale: log`, got 1",
    ),
    "log_from_zero": (
        searching("training.learning_rate", "      {min: 0, max: 1.0, scale: log}"),
        "s.yaml:5: search.parameters.training.learning_rate.min: "
        "must be greater than 0 with `scale: log`, got 0",
    ),
    "unknown_scale": (
        searching("training.learning_rate", "      {min: 0.1, max: 1.0, scale: exp}"),
        "s.yaml:5: search.parameters.training.learning_rate.scale: "
        "must be 'linear' or 'log', got 'exp'",
    ),
    "unknown_field": (
        searching("adapter.rnk", "      values: [8]"),
        "s.yaml:4: search.parameters.adapter.rnk: is not a field of a trial, "
        "did you mean `adapter.rank`?",
    ),
    "unlike_any_field": (
        searching("zzz", "      values: [8]"),
        "s.yaml:4: search.parameters.zzz: is not a field of a trial, "
        "its sections are model, adapter, task, training, evaluation",
    ),
    "section_as_field": (
        searching("adapter", "      values: [8]"),
        "s.yaml:4: search.parameters.adapter: is not a field of a trial that holds one value",
    ),
    "list_as_field": (
        searching("adapter.target_modules", "      values: [q_proj]"),
        "s.yaml:4: search.parameters.adapter.target_modules: "
        "is not a field of a trial that holds one value",
    ),
    "shared_field": (
        searching("model.dtype", "      values: [float32, bfloat16]"),
        "s.yaml:4: search.parameters.model.dtype: "
        "cannot be searched: it must be the same in every trial of a sweep",
    ),
    "range_end_out_of_bounds": (
        searching(PRUNING, "      min: 0.0", "      max: 1.0"),
        "s.yaml:6: search.parameters.adapter.pruning_rate.max: must be in [0, 1), got 1.0",
    ),
    "value_out_of_bounds": (
        searching(RANK, "      values:", "        - 4", "        - 0"),
        "s.yaml:7: search.parameters.adapter.rank.values[1]: must be at least 1, got 0",
    ),
    "fractions_for_integer": (
        searching(RANK, "      min: 1", "      max: 8.5"),
        "s.yaml:6: search.parameters.adapter.rank.max: must be an integer, got 8.5",
    ),
    "fractional_step_for_integer": (
        searching(RANK, "      min: 1", "      max: 8", "      step: 0.5"),
        "s.yaml:7: search.parameters.adapter.rank.step: must be an integer, got 1.5",
    ),
    "unknown_choice": (
        searching("adapter.mask", "      values: [token, batch]"),
        "s.yaml:5: search.parameters.adapter.mask.values[1]: "
        "must be 'token', 'sample', 'step' or 'learned', got 'batch'",
    ),
    "ratio_of_nothing": (
        searching("adapter.alpha", "      values: [1]", "      ratio_of: rank"),
        "s.yaml:6: search.parameters.adapter.alpha.ratio_of: "
        "is not a field of a trial, did you mean `adapter.rank`?",
    ),
    "ratio_of_text": (
        searching("adapter.alpha", "      values: [1]", "      ratio_of: adapter.mask"),
        "s.yaml:6: search.parameters.adapter.alpha.ratio_of: "
        "must be a field with a number, got 'adapter.mask'",
    ),
    "ratio_for_text": (
        searching("adapter.mask", "      values: [step]", "      ratio_of: adapter.rank"),
        "s.yaml:6: search.parameters.adapter.mask.ratio_of: "
        "must be left out: `adapter.mask` takes no number",
    ),
    "ratio_gives_bad_value": (
        searching(RANK, "      values: [0.3]", "      ratio_of: adapter.alpha"),
        "s.yaml:5: search.parameters.adapter.rank.values[0]: "
        "must be an integer, got 19.2 (0.3 of `adapter.alpha`)",
    ),
    "ratio_is_true": (
        searching("adapter.alpha", "      values: [true]", "      ratio_of: adapter.rank"),
        "s.yaml:5: search.parameters.adapter.alpha.values[0]: must be a number, got true",
    ),
    "ratio_of_a_ratio_gives_bad_value": (
        searching(
            "adapter.alpha",
            "      values: [1]",
            "      ratio_of: training.weight_decay",
            "    training.weight_decay:",
            "      values: [0]",
            "      ratio_of: training.learning_rate",
        ),
        "s.yaml:5: search.parameters.adapter.alpha.values[0]: "
        "must be greater than 0, got 0.0 (1 of `training.weight_decay`)",
    ),
    "ratio_of_itself": (
        searching("adapter.alpha", "      values: [1]", "      ratio_of: adapter.alpha"),
        "s.yaml:4: search.parameters.adapter.alpha: `when` and `ratio_of` must not be circular, "
        "got adapter.alpha",
    ),
    "when_unknown": (
        searching(PRUNING, "      values: [0]", "      when:", "        adapter.method_: lora"),
        "s.yaml:7: search.parameters.adapter.pruning_rate.when.adapter.method_: "
        "is not a field of a trial, did you mean `adapter.method`?",
    ),
    "when_impossible": (
        searching(PRUNING, "      values: [0]", "      when:", "        adapter.method: adalora"),
        "s.yaml:7: search.parameters.adapter.pruning_rate.when.adapter.method: "
        "must be 'droplora', 'lora', 'dora', 'pissa', 'milora', 'rslora', 'lora_drop' or 'full', "
        "got 'adalora'",
    ),
    "when_never_searched": (
        searching(
            "adapter.mask",
            "      values: [step]",
            "      when: {adapter.rank: 8}",
            "    adapter.rank:",
            "      values: [2, 4]",
        ),
        "s.yaml:6: search.parameters.adapter.mask.when.adapter.rank: "
        "must be a value that `adapter.rank` is searched over, got 8",
    ),
    "searched_batch_below_workers": (
        searching("training.global_batch_size", "      values: [1, 8]"),
        "s.yaml:5: search.parameters.training.global_batch_size.values[0]: "
        "must be at least `group.num_workers`, got 1 for 2 workers",
    ),
}

ALL_FAULTS = YAML_FAULTS | FIELD_FAULTS | SWEEP_FAULTS | PARAMETER_FAULTS


@pytest.mark.parametrize(("text", "line"), ALL_FAULTS.values(), ids=ALL_FAULTS.keys())
def test_one_fault_is_one_line(tmp_path: Path, text: str | bytes, line: str) -> None:
    assert refusal(tmp_path, text) == [line]


def test_circular_parameters(tmp_path: Path) -> None:
    text = searching(
        "adapter.mask",
        "      values: [step]",
        "      when: {adapter.rank: 4}",
        "    adapter.rank:",
        "      values: [4]",
        "      when: {adapter.mask: step}",
    )

    assert refusal(tmp_path, text) == [
        "s.yaml:4: search.parameters.adapter.mask: `when` and `ratio_of` must not be circular, "
        "got adapter.mask and adapter.rank"
    ]


def test_anchors_and_aliases_are_refused_before_they_expand(tmp_path: Path) -> None:
    bomb = "name: q\na: &a [x, x]\n" + "".join(
        f"{after}: &{after} [{', '.join([f'*{before}'] * 9)}]\n"
        for before, after in zip("abcdefgh", "bcdefghi", strict=True)
    )

    lines = refusal(tmp_path, bomb)

    assert lines[0] == "s.yaml:2: a: anchors and aliases are refused, got &a"
    assert len(lines) == 9, "an anchored value is not read, so its own aliases are not reported"


def test_all_faults_are_reported_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
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

    assert refusal(tmp_path, text, "evaluation.num_evaluations=0") == [
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


def test_a_fault_brings_no_second_one_that_only_follows_from_it(tmp_path: Path) -> None:
    text = "name: q\ntask:\n  benchmark: [gsm8k]\nsearch:\n  metric: val/gsm8k\n"

    assert refusal(tmp_path, text) == [
        "s.yaml:3: task.benchmark: unknown key, did you mean `benchmarks`?"
    ]


OVERRIDE_FAULTS = {
    "bad_value": ("adapter.rank=0", "adapter.rank: must be at least 1, got 0"),
    "text": ("adapter.rank=eight", "adapter.rank: must be an integer, got 'eight'"),
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
    tmp_path: Path, override: str, problem: str
) -> None:
    text = searching("adapter.alpha", "      values: [8, 16]")

    assert refusal(tmp_path, text, override) == [f"--set {override}: {problem}"]


def test_a_file_full_of_faults_is_refused_in_seconds(tmp_path: Path) -> None:
    text = "name: q\n" + "".join(f"k{index}: 1\n" for index in range(2_000))

    lines = refusal(tmp_path, text)

    assert len(lines) == 2_000
    assert lines[-1].startswith("s.yaml:2001: k1999: unknown key")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError) as missing:
        load_sweep(tmp_path / "missing.yaml")
    with pytest.raises(InputError) as folder:
        load_sweep(tmp_path)

    assert str(missing.value) == f"{tmp_path}/missing.yaml: no such file"
    assert str(folder.value) == f"{tmp_path}: is a folder, not a file"
