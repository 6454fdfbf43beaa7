import json
import math
from dataclasses import replace

import pytest

from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.mlflow_view import values
from droplora_sweep.records.trial import SweepOutcome, TrialState
from tests.recording import evaluated


@pytest.fixture
def trial(driver):
    return driver.ledger.trial(driver.run(7))


def test_runs_are_named_so_that_a_list_of_them_can_be_read(driver, trial):
    assert values.trial_run_name(trial) == "t0007 r=8 p=0.2"


def test_params_are_what_users_filter_on(trial):
    params = values.trial_params(trial)
    expected = {
        "rank": "8",
        "alpha": "64.0",
        "pruning_rate": "0.2",
        "learning_rate": "0.0003",
        "seed": "42",
        "mask": "token",
        "method": "droplora",
        "model_path": "builtin",
        "task_name": "toy",
        "task_benchmarks": "choice",
    }
    assert {name: params[name] for name in expected} == expected
    assert "model_revision" not in params


def test_no_two_fields_of_a_trial_share_a_param(trial):
    num_leaves = sum(1 for _ in values._used_fields(trial))
    assert len(values.trial_params(trial)) == num_leaves


@pytest.mark.parametrize(
    ("adapter", "name"),
    [
        ({"method": "lora"}, "t0007 r=8 p=0.2"),
        ({"method": "dora"}, "t0007 dora r=8 p=0.2"),
        ({"method": "lora_drop", "pruning_rate": 0.0}, "t0007 lora_drop r=8 p=0"),
        ({"method": "full", "pruning_rate": 0.0}, "t0007 full"),
    ],
    ids=str,
)
def test_runs_of_other_methods_name_them(driver, adapter, name):
    trial = driver.ledger.trial(driver.run(7, **adapter))
    assert values.trial_run_name(trial) == name


def test_a_searched_mask_is_in_the_name(driver):
    trial = driver.ledger.trial(driver.run(7, mask="learned"))
    searched = replace(trial, params={**trial.params, "adapter.mask": "learned"})
    assert values.trial_run_name(searched) == "t0007 r=8 p=0.2 mask=learned"


def test_sections_and_mappings_are_flat_params(driver):
    rates = {"q_proj": 0.1, "layers.0.mlp.up_proj": 0.0}
    trial = driver.ledger.trial(driver.run(7, method="lora_drop", module_pruning_rates=rates))
    expected = {
        "module_pruning_rates_q_proj": "0.1",
        "module_pruning_rates_layers.0.mlp.up_proj": "0.0",
        "lora_drop_threshold": "0.9",
        "lora_drop_sampling_share": "0.1",
        "pruning_schedule": "constant",
        "model_quantization": "none",
    }
    params = values.trial_params(trial)
    assert {name: params.get(name) for name in expected} == expected


def test_a_searched_module_rate_is_a_column_of_its_own(driver):
    trial = driver.ledger.trial(driver.run(7, module_pruning_rates={"q_proj": 0.1}))
    path = "adapter.module_pruning_rates.q_proj"
    table = values.trials_table([replace(trial, params={path: 0.1})])
    row = dict(zip(table["columns"], table["data"][0], strict=True))
    assert row["module_pruning_rates_q_proj"] == 0.1


def test_a_list_that_was_searched_is_one_text(driver):
    trial = driver.ledger.trial(driver.run(7, target_modules="q_proj, v_proj", layers="1-3"))
    plain = values.trial_params(replace(trial, params={}))
    assert (plain["target_modules"], plain["layers"]) == ("q_proj,v_proj", "1-3")
    searched = {"adapter.target_modules": "q_proj, v_proj", "adapter.layers": "1-3"}
    trial = replace(trial, params=searched)
    params = values.trial_params(trial)
    assert (params["target_modules"], params["layers"]) == ("q_proj, v_proj", "1-3")
    table = values.trials_table([trial])
    row = dict(zip(table["columns"], table["data"][0], strict=True))
    assert (row["target_modules"], row["layers"]) == ("q_proj, v_proj", "1-3")


def test_params_without_a_meaning_are_left_out(driver):
    plain = values.trial_params(driver.ledger.trial(driver.run(7)))
    full = driver.ledger.trial(driver.run(8, method="full", pruning_rate=0.0))
    params = values.trial_params(replace(full, params={}))
    assert "lora_drop_threshold" not in plain
    assert params["method"] == "full"
    assert not {"rank", "alpha", "pruning_rate", "mask", "target_modules"} & params.keys()
    assert params["learning_rate"] == "0.0003"


def test_settings_of_the_sweep_leave_out_what_may_hold_a_password(make_driver):
    tracking = {"mlflow_uri": "http://user:secret@host"}
    sweep = make_driver(tracking=tracking).ledger.record
    settings = values.sweep_settings(sweep)
    assert "secret" not in json.dumps(settings)
    assert settings["search_num_startup_trials"] == "8"
    assert settings["group_num_workers"] == "2"
    assert settings["checkpoint_every_minutes"] == "10.0"
    assert settings["storage"] == "results"


def test_a_param_that_a_run_has_with_another_value_becomes_a_tag():
    params, tags = values.new_params({"rank": "8", "seed": "1"}, {"rank": "16", "old": "x"})
    assert params == {"seed": "1"}
    assert tags == {"now.rank": "8"}


def test_settings_that_are_gone_are_known_by_their_sections():
    tags = {"confirm_num_seeds": "3", "search_num_trials": "8", "sweep_id": "5", "stage": "search"}
    assert values.outdated_settings(tags, {"search_num_trials": "12"}) == ["confirm_num_seeds"]


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (TrialState.COMPLETE, "FINISHED"),
        (TrialState.STOPPED, "KILLED"),
        (TrialState.FAILED, "FAILED"),
    ],
)
def test_a_finished_trial_s_status_is_its_state_s(driver, state, status):
    trial = driver.ledger.trial(driver.run(0, state, "because"))
    for is_live in (True, False):
        assert values.trial_status(trial, is_live=is_live) == status
        tags = values.trial_tags(trial, driver.ledger.record, is_live=is_live)
        assert (tags["state"], tags["reason"]) == (state, "because")


def test_what_ran_when_its_sweep_ended_was_interrupted(driver):
    driver.start(0)
    [trial] = driver.ledger.records()
    sweep = driver.ledger.record
    assert values.trial_status(trial, is_live=True) == "RUNNING"
    assert values.trial_status(trial, is_live=False) == "KILLED"
    assert values.trial_tags(trial, sweep, is_live=False)["state"] == "INTERRUPTED"
    assert values.sweep_status(sweep, is_live=False) == "KILLED"
    assert values.sweep_tags(sweep, is_live=False)["state"] == "INTERRUPTED"


def test_the_sweep_s_status_is_its_outcome_s(driver):
    driver.ledger.sweep_finished(SweepOutcome.FAILED, reason="no group ever started")
    sweep = Ledger.open(driver.ledger.storage, "demo").record
    assert values.sweep_status(sweep, is_live=False) == "FAILED"
    assert values.sweep_tags(sweep, is_live=False)["reason"] == "no group ever started"


def test_the_table_of_trials_has_one_row_each_and_is_valid_json(driver):
    driver.run(0, pruning_rate=0.0)
    failed = driver.start(1)
    driver.ledger.trial_reported(
        failed, evaluated(1, 10, {"train/loss": math.nan}, num_evaluations=2)
    )
    driver.ledger.trial_finished(failed, TrialState.FAILED, reason="NaN")
    table = values.trials_table(driver.ledger.records())
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    assert [(row["trial"], row["rank"], row["pruning_rate"]) for row in rows] == [
        ("t0000-00000001", 8, 0.0),
        ("t0001-00000002", 8, 0.2),
    ]
    assert [(row["val/choice"], row["train/loss"], row["state"]) for row in rows] == [
        (0.2, 0.5, "COMPLETE"),
        (None, "nan", "FAILED"),
    ]
    json.dumps(table, allow_nan=False)


def test_a_dataset_names_where_it_is_from(driver):
    task = {
        "data": "files",
        "revision": None,
        "benchmark_specs": {"mine": {"data": "mine.jsonl", "revision": None}, "other": {}},
        "train": {"name": "mix", "data": "owner/mix", "revision": "c0ffee"},
    }
    spec = {"task": task, "evaluation": {"held_out_text": "/text.txt"}}
    sweep = replace(driver.ledger.record, spec=spec)
    sources = {
        name: (source["data"], source["revision"])
        for name in ("mine/test", "other/train", "boolq/validation", "mix/train", "held_out_text")
        for source in [values.dataset_source(sweep, name)]
    }
    assert sources == {
        "mine/test": ("mine.jsonl", None),
        "other/train": ("files", None),
        "boolq/validation": ("files", None),
        "mix/train": ("owner/mix", "c0ffee"),
        "held_out_text": ("/text.txt", None),
    }
