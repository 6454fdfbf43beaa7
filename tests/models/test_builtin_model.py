"""The shipped model: small, whole, what its card says, and fit for the benchmarks' texts."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import droplora_sweep.models
from droplora_sweep.models.pretraining.card import write_model
from droplora_sweep.models.pretraining.corpus import corpus_digest
from droplora_sweep.models.pretraining.train import PretrainingSettings, pretrain
from droplora_sweep.tasks.builtin.generation import BUILTIN_BENCHMARKS, SPLITS, generate
from droplora_sweep.tasks.task import render_prompt

BUILTIN_MODEL = Path(droplora_sweep.models.__file__).parent / "builtin"
every_benchmark = pytest.mark.parametrize("name", sorted(BUILTIN_BENCHMARKS))


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(BUILTIN_MODEL)


@pytest.fixture(scope="module")
def card() -> str:
    return (BUILTIN_MODEL / "README.md").read_text()


def test_the_model_loads_with_the_modules_the_paper_adapts() -> None:
    model = AutoModelForCausalLM.from_pretrained(BUILTIN_MODEL, dtype=torch.float32)
    assert 1e6 < model.num_parameters() < 3e6
    names = {name.rsplit(".", 1)[-1] for name, _ in model.named_modules()}
    assert {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"} <= names
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


def test_the_weights_are_small_and_those_of_the_card(card: str) -> None:
    weights = (BUILTIN_MODEL / "model.safetensors").read_bytes()
    assert len(weights) < 6e6
    assert f"`{hashlib.sha256(weights).hexdigest()}`" in card


def test_the_card_names_the_corpus_that_the_code_generates(card: str) -> None:
    seed = re.search(r"\| seed \| (\d+) \|", card)
    digest = re.search(r"sha256 of the first ([\d,]+) documents `(\w+)`", card)
    assert seed is not None
    assert digest is not None
    num_documents = int(digest[1].replace(",", ""))
    assert corpus_digest(int(seed[1]), num_documents) == digest[2]


def test_the_card_gives_low_zero_shot_scores(card: str) -> None:
    for name in BUILTIN_BENCHMARKS:
        score = re.search(rf"\| {name} \| ([\d.]+)% \|", card)
        assert score is not None
        assert float(score[1]) <= 30


@every_benchmark
@pytest.mark.parametrize("split", SPLITS)
def test_texts_survive_the_tokenizer_and_are_short(tokenizer, name: str, split: str) -> None:
    benchmark = BUILTIN_BENCHMARKS[name]
    for example in generate(name, split, 100, seed=0):
        prompt = render_prompt(example, benchmark.prompt_suffix)
        prompt_tokens = tokenizer(prompt)["input_ids"]
        response_tokens = tokenizer(example.output + tokenizer.eos_token)["input_ids"]
        assert tokenizer.decode(prompt_tokens) == prompt
        assert tokenizer.decode(response_tokens, skip_special_tokens=True) == example.output
        assert len(prompt_tokens) <= 40
        assert len(response_tokens) <= benchmark.max_new_tokens
        assert response_tokens[-1] == tokenizer.eos_token_id


def test_text_of_any_script_survives_the_tokenizer(tokenizer) -> None:
    text = "Größe 1234 été 你好\t~\r\n"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_padding_differs_from_the_end_and_its_side_can_be_set(tokenizer) -> None:
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    padded = tokenizer(["one", "one two three"], padding=True, padding_side="left")
    assert padded["input_ids"][0][0] == tokenizer.pad_token_id
    assert padded["attention_mask"][0][0] == 0


@pytest.mark.slow
def test_pretraining_twice_from_a_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    settings = PretrainingSettings(
        seed=3, steps=4, rows=2, row_tokens=64, num_threads=1, tokenizer_documents=2000
    )
    files = []
    for directory in (tmp_path / "first", tmp_path / "second"):
        write_model(pretrain(settings), settings, "a test", directory)
        files.append(
            {
                path.name: path.read_bytes()
                for path in directory.iterdir()
                if path.name != "README.md"
            }
        )
    assert files[0] == files[1]
    assert {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json"} <= set(
        files[0]
    )
