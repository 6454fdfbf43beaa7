"""Every fault of what is searched is refused in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    Refusal = Callable[..., list[str]]


def searching(field: str, *lines: str) -> str:
    """A file that searches one field; its domain begins on line 5."""
    return "\n".join(["name: q", "search:", "  parameters:", f"    {field}:", *lines, ""])


PRUNING, RANK = "adapter.pruning_rate", "adapter.rank"
MODULE = "adapter.module_pruning_rates"

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
        searching("adapter.modules_to_save", "      values: [lm_head]"),
        "s.yaml:4: search.parameters.adapter.modules_to_save: "
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
        searching(RANK, "      values: [0.3]", "      ratio_of: training.max_sequence_tokens"),
        "s.yaml:5: search.parameters.adapter.rank.values[0]: "
        "must be an integer, got 153.6 (0.3 of `training.max_sequence_tokens`)",
    ),
    "ratio_is_true": (
        searching("adapter.alpha", "      values: [true]", "      ratio_of: adapter.rank"),
        "s.yaml:5: search.parameters.adapter.alpha.values[0]: must be a number or null, got true",
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
    "module_rate_out_of_bounds": (
        searching(f"{MODULE}.mlp.up_proj", "      min: 0.0", "      max: 1.0"),
        f"s.yaml:6: search.parameters.{MODULE}.mlp.up_proj.max: must be in [0, 1), got 1.0",
    ),
    "mapping_itself": (
        searching(MODULE, "      values: [0.5]"),
        f"s.yaml:4: search.parameters.{MODULE}: must name an entry of the mapping, "
        f"e.g. `{MODULE}.q_proj`",
    ),
    "misspelled_mapping": (
        searching("adapter.module_pruning_rate.q_proj", "      values: [0.5]"),
        "s.yaml:4: search.parameters.adapter.module_pruning_rate.q_proj: "
        f"is not a field of a trial, did you mean `{MODULE}`?",
    ),
    "ratio_of_an_absent_entry": (
        searching("adapter.dropout", "      values: [0.5]", f"      ratio_of: {MODULE}.q_proj"),
        "s.yaml:6: search.parameters.adapter.dropout.ratio_of: "
        f"must be a field with a number, got '{MODULE}.q_proj'",
    ),
    "module_rate_when_impossible": (
        searching("adapter.mask", "      values: [step]", f"      when: {{{MODULE}.q_proj: 1}}"),
        f"s.yaml:6: search.parameters.adapter.mask.when.{MODULE}.q_proj: must be in [0, 1), got 1",
    ),
    "nested_value_out_of_bounds": (
        searching("adapter.lora_drop.threshold", "      values: [0.5, 1.5]"),
        "s.yaml:5: search.parameters.adapter.lora_drop.threshold.values[1]: "
        "must be in (0, 1], got 1.5",
    ),
    "quantization": (
        searching("model.quantization", "      values: [none, 4bit]"),
        "s.yaml:4: search.parameters.model.quantization: "
        "cannot be searched: it must be the same in every trial of a sweep",
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


@pytest.mark.parametrize(("text", "line"), PARAMETER_FAULTS.values(), ids=PARAMETER_FAULTS.keys())
def test_one_fault_is_one_line(refusal: Refusal, text: str, line: str) -> None:
    assert refusal(text) == [line]


def test_circular_parameters(refusal: Refusal) -> None:
    text = searching(
        "adapter.mask",
        "      values: [step]",
        "      when: {adapter.rank: 4}",
        "    adapter.rank:",
        "      values: [4]",
        "      when: {adapter.mask: step}",
    )

    assert refusal(text) == [
        "s.yaml:4: search.parameters.adapter.mask: `when` and `ratio_of` must not be circular, "
        "got adapter.mask and adapter.rank"
    ]
