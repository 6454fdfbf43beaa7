"""A LoRA variant that an installed package brings, from the file to the adapter."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.records.trial import TrialState

from .installing import install, run

PACKAGE = Path(__file__).parent / "droplora_plugin_method"
SWEEP = """
name: brought
task: {name: builtin, benchmarks: [builtin_choice], num_train: 32, num_validation: 8}
adapter: {method: lora_fa, dropout: 0.0, rank: 4}
training: {epochs: 1, global_batch_size: 8, micro_batch_size: 8, max_sequence_tokens: 128}
evaluation: {num_evaluations: 1, max_new_tokens: 8}
search:
  num_trials: 2
  sampler: {kind: grid}
  queue_baselines: false
  parameters:
    adapter.method: {values: [lora, lora_fa]}
group: {num_workers: 1, gpus_per_worker: 0}
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    return folder


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    file = tmp_path / "brought.yaml"
    file.write_text(SWEEP)
    return file


@pytest.mark.ray
def test_it_is_planned_trained_and_saved_as_plain_lora(
    site: Path, sweep: Path, tmp_path: Path
) -> None:
    install(site, PACKAGE)
    where = ["--set", f"storage={tmp_path}", "--address", "local"]
    done = run(site, "run", str(sweep), *where)
    assert done.returncode == 0, done.stdout + done.stderr

    ledger = Ledger.open(tmp_path, "brought")
    trials = {trial.spec["adapter"]["method"]: trial for trial in ledger.search_records()}
    assert trials.keys() == {"lora", "lora_fa"}
    weights = {}
    for method, trial in trials.items():
        assert trial.state is TrialState.COMPLETE
        assert trial.adapter is not None
        weights[method] = load_file(trial.adapter / "adapter_model.safetensors")
    names = weights["lora"].keys()
    assert weights["lora_fa"].keys() == names
    # Both draw the same A, which one of them alone trains.
    assert all(weights["lora_fa"][name].any() for name in names if "lora_B" in name)
    moved = [
        name
        for name in names
        if "lora_A" in name and not torch.equal(weights["lora"][name], weights["lora_fa"][name])
    ]
    assert moved == [name for name in names if "lora_A" in name]

    brought = trials["lora_fa"].adapter
    assert brought is not None
    assert "LoRA-FA (no pruning) of rank 4 on `builtin`" in (brought / "README.md").read_text()
    config = json.loads((brought / "adapter_config.json").read_text())
    assert (config["peft_type"], config["r"]) == ("LORA", 4)

    # Its results are read where it is not installed.
    shutil.rmtree(site)
    listed = run(site, "best", "brought", "--storage", str(tmp_path))
    assert listed.returncode == 0, listed.stderr
    assert "lora_fa" in listed.stdout


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("no_such_package:method", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("lora_fa:num_in_b", "TypeError: num_in_b() missing 3 required positional arguments"),
        ("builtins:dict", "must return a Method, got dict"),
    ],
)
def test_one_that_cannot_be_used_is_one_line(
    site: Path, sweep: Path, value: str, problem: str
) -> None:
    install(site, PACKAGE)
    [entry_points] = site.glob("*.dist-info/entry_points.txt")
    entry_points.write_text(f"[droplora_sweep.methods]\nlora_fa = {value}\n")
    done = run(site, "validate", str(sweep))
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    expected = f"adapter.method: entry point lora_fa = {value}: {problem}"
    assert lines[0].startswith(f"{sweep}:4: {expected}")


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        (
            ("lora_fa.adapter:LoraFa", "lora_fa.absent:LoraFa"),
            "`attached_by` must name a class of an installed module, as in "
            "my_package.adapter:MyAdapter, got lora_fa.absent:LoraFa",
        ),
        (
            ('name="lora_fa"', 'name="lorafa"'),
            "must have the name of the method that it returns, got lorafa",
        ),
    ],
)
def test_one_whose_row_is_wrong_is_one_line(
    site: Path, sweep: Path, changed: tuple[str, str], problem: str
) -> None:
    install(site, PACKAGE)
    module = site / "lora_fa" / "__init__.py"
    module.write_text(module.read_text().replace(*changed))
    done = run(site, "validate", str(sweep))
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == (
        f"{sweep}:4: adapter.method: entry point lora_fa of droplora_sweep.methods: {problem}"
    )


def test_one_that_takes_a_name_of_ours(site: Path, sweep: Path) -> None:
    install(site, PACKAGE)
    [entry_points] = site.glob("*.dist-info/entry_points.txt")
    entry_points.write_text("[droplora_sweep.methods]\ndora = lora_fa:lora_fa\n")
    done = run(site, "validate", str(sweep), "--set", "adapter.method=dora")
    assert done.returncode == 2
    assert (
        "adapter.method: entry point dora = lora_fa:lora_fa: must have another name than what is "
        "built in, got dora; uninstall droplora-plugin-method, or rename its entry point"
    ) in done.stderr


def test_one_that_is_not_installed(site: Path, sweep: Path) -> None:
    done = run(site, "validate", str(sweep))
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == (
        f"{sweep}:4: adapter.method: must be 'droplora', 'lora', 'dora', 'pissa', 'milora', "
        "'rslora', 'lora_drop' or 'full', got 'lora_fa'"
    )
