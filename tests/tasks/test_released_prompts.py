"""Prompts are the released ones, character by character.

The digests are of the samples in ``datasets/`` of the released code (TayeeChang/DropLoRA).
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from .conftest import load

if TYPE_CHECKING:
    from pathlib import Path

    from droplora_sweep.tasks.task import Benchmark

SAMPLES = {
    "humaneval": "72a97c2a7ea3c4d014a45bc76c86847342d929ba7552a1d0c839c51afa27a0e1",
    "mt_bench": "f7fc36541456b08fef1f40c6b6d86de753236372a6744708ecbd62e7cbcb4aef",
    "mt_bench_first_turn": "f7fc36541456b08fef1f40c6b6d86de753236372a6744708ecbd62e7cbcb4aef",
    "boolq": "2cfe80c88a08870fcf135b4febecf3c6b630ef53638f92f417c54682dfef8e6e",
}
FOLDERS = {
    "humaneval": "code/humaneval",
    "mt_bench": "conversation/mt_bench",
    "mt_bench_first_turn": "conversation/mt_bench",
    "boolq": "commonsense/boolq",
    "mbpp": "code/mbpp",
}


def read(folder: Path, name: str) -> Benchmark:
    data = {"builtin_choice": None, name: {"data": str(folder / FOLDERS[name])}}
    return load(benchmarks=data, num_train=1).benchmarks[1]


@pytest.mark.parametrize("name", SAMPLES)
def test_the_released_sample_is_one_of_the_prompts(benchmark_files: Path, name: str) -> None:
    benchmark = read(benchmark_files, name)
    prompts = [benchmark.render_prompt(example) for example in benchmark.test()]
    assert [hashlib.sha256(one.encode()).hexdigest() for one in prompts].count(SAMPLES[name]) == 1


def test_mbpp_is_asked_in_the_same_form(benchmark_files: Path) -> None:
    benchmark = read(benchmark_files, "mbpp")
    prompt = benchmark.render_prompt(benchmark.test()[0])
    assert ".\n\n\n### Instruction:\nCreate a Python script for this problem:\nWrite a" in prompt
    assert prompt.endswith("\n\n### Response:")


def test_a_prompt_that_no_spec_gives_is_a_part_of_what_identifies_a_trial(tmp_path: Path) -> None:
    """A ledger of other prompts is another sweep; with a prompt of one's own it is the spec's."""
    said = [{"from": "human", "value": "1?"}, {"from": "gpt", "value": "1!"}]
    file = tmp_path / "train.jsonl"
    file.write_text(json.dumps({"idx": "1", "conversations": said}))

    def prompts(**fields: str) -> set[str]:
        train = {"name": "evol_instruct", "data": str(file)}
        task = load(benchmarks=["builtin_math"], train=train, **fields)
        return {name for name in task.digests if name.endswith("/prompt")}

    assert prompts() == {"evol_instruct/prompt"}
    assert prompts(prompt="{instruction}") == set()
