"""A sweep is checked and counted against its model as transformers and PEFT really have it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import torch
import yaml
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    BertConfig,
    GPT2Config,
    LlamaConfig,
    LlamaModel,
    PreTrainedTokenizerFast,
    T5Config,
)

from droplora_sweep.adapters.attaching import attach
from droplora_sweep.errors import InputError
from droplora_sweep.models.loading import load_base_model
from droplora_sweep.plan.plan import make_plan
from droplora_sweep.plan.survey import survey
from droplora_sweep.spec import AdapterSpec, ModelSpec, TrialSpec, load_sweep_file
from tests.saved_files import saved_files
from tests.training.architectures import CONFIGS, GPT_LIKE, LLAMA_LIKE, make

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from droplora_sweep.plan.survey import Survey

    Look = Callable[..., Survey]

NODES = [{"CPU": 4.0}]
SMALL = {"max_sequence_tokens": 496}


def make_tokenizer(**special: str) -> PreTrainedTokenizerFast:
    """One token per byte, 258 in all; further special tokens come behind them."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({word: i for i, word in enumerate(["<s>", "</s>", *alphabet])}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=made, **{"bos_token": "<s>", "eos_token": "</s>", **special}
    )


@pytest.fixture
def look(tmp_path: Path) -> Look:
    """Saves a model and its tokenizer, and looks at a sweep over it."""

    def make_survey(
        model: Any, tokenizer: PreTrainedTokenizerFast | None = None, **sections: Any
    ) -> Survey:
        folder = tmp_path / "model"
        model.save_pretrained(folder)
        (tokenizer or make_tokenizer()).save_pretrained(folder)
        return look_again(**sections)

    def look_again(**sections: Any) -> Survey:
        file = tmp_path / "s.yaml"
        data = {
            "name": "q",
            "model": {"path": str(tmp_path / "model")},
            "task": {"benchmarks": ["builtin_choice"], "num_train": 8, "num_validation": 4},
            "adapter": {"rank": 4},
            "training": SMALL,
            "evaluation": {"max_new_tokens": 8},
            **sections,
        }
        file.write_text(yaml.safe_dump(data))
        return survey(load_sweep_file(file))

    return make_survey


def refusal(look: Look, *given: Any, **sections: Any) -> str:
    with pytest.raises(InputError) as caught:
        look(*given, **sections)
    [fault] = caught.value.faults
    return f"{fault.field}: {fault.problem}"


def small_llama(**changes: Any) -> Any:
    torch.manual_seed(7)
    return AutoModelForCausalLM.from_config(LlamaConfig(**{**LLAMA_LIKE, **changes}))


FUSED = ("w1", "w2", "w3")
ADAPTERS = {
    "lora": {},
    "token": {"pruning_rate": 0.5},
    "learned": {"pruning_rate": 0.5, "mask": "learned"},
    "dora": {"method": "dora"},
    "pissa": {"method": "pissa"},
    "lora_drop": {"method": "lora_drop"},
    "full": {"method": "full"},
}


def num_in_files(files: dict[str, bytes], folder: Path) -> int:
    """Numbers in what a trial saves, by the safetensors files' own headers."""
    from safetensors.torch import load

    return sum(
        tensor.numel()
        for name, content in files.items()
        if name.endswith(".safetensors")
        for tensor in load(content).values()
    )


@pytest.mark.parametrize("name", CONFIGS)
def test_a_plan_counts_what_a_trial_trains_and_saves(look: Look, tmp_path: Path, name: str) -> None:
    targets = list(CONFIGS[name][1])
    adapter = {"rank": 4, "dropout": 0.0, "target_modules": targets}
    found = look(make(name), adapter=adapter)

    saved = make_plan(found, NODES).saved

    base = load_base_model(found.sweep.model)
    adapted = attach(base, found.sweep.adapter, 0)
    trained = adapted.num_trainable
    files = saved_files(adapted, found.sweep.trial)
    assert saved is not None
    assert saved.num_trainable_parameters == (trained, trained)
    assert saved.adapter_bytes == 4 * num_in_files(files, tmp_path)


@pytest.mark.parametrize("kind", ADAPTERS)
@pytest.mark.parametrize("name", ["gpt2", "opt", "qwen3_moe"])
def test_each_method_is_counted_on_models_unlike_llama(look: Look, name: str, kind: str) -> None:
    targets = list(CONFIGS[name][1])
    adapter = {"rank": 4, "dropout": 0.0, "target_modules": targets, **ADAPTERS[kind]}
    found = look(make(name), adapter=adapter)

    saved = make_plan(found, NODES).saved

    adapted = attach(load_base_model(found.sweep.model), found.sweep.adapter, 0)
    assert saved is not None
    assert saved.num_trainable_parameters == (adapted.num_trainable,) * 2


def test_fused_experts_are_counted_as_they_are_trained(look: Look) -> None:
    adapter = {"rank": 4, "dropout": 0.0, "target_modules": list(FUSED)}
    found = look(make("mixtral"), adapter=adapter)

    saved = make_plan(found, NODES).saved

    adapted = attach(load_base_model(found.sweep.model), AdapterSpec.model_validate(adapter), 0)
    assert saved is not None
    assert saved.num_trainable_parameters == (adapted.num_trainable,) * 2


def test_fused_experts_that_are_not_targeted_together_are_refused(look: Look) -> None:
    assert refusal(look, make("qwen3_moe")).startswith(
        "adapter.target_modules: must be layers it can adapt, got ['down_proj', 'k_proj', "
        "'q_proj', 'up_proj', 'v_proj']: Cannot convert PEFT target(s) up_proj without also "
        "targeting gate_proj"
    )


def test_fused_experts_cannot_be_pruned(look: Look) -> None:
    adapter = {"dropout": 0.0, "pruning_rate": 0.5, "target_modules": list(FUSED)}
    assert refusal(look, make("mixtral"), adapter=adapter).startswith(
        "adapter.target_modules: must "
    )


def test_a_target_that_no_layer_has_is_named(look: Look) -> None:
    adapter = {"target_modules": ["c_attn", "q_proj"]}
    assert refusal(look, make("gpt2"), adapter=adapter) == (
        "adapter.target_modules: must match linear layers of the model, got q_proj, which match "
        "none; it has c_attn, c_fc, c_proj, lm_head"
    )


def test_a_rank_above_a_layers_is_refused_also_where_weights_are_transposed(look: Look) -> None:
    adapter = {"rank": 64, "target_modules": ["c_attn"]}
    assert refusal(look, make("gpt2"), adapter=adapter) == (
        "adapter.rank: must be at most 32, the smallest dimension of a layer with an adapter: the "
        "weight of transformer.h.0.attn.c_attn is 96 x 32, got 64"
    )


def test_what_an_expression_or_a_name_must_not_choose(look: Look) -> None:
    """Norms and embeddings, a module that is not there, a weight that two layers share."""
    norms = {"target_modules": ".*(q_proj|[.]norm)"}
    assert refusal(look, small_llama(tie_word_embeddings=True), adapter=norms) == (
        "adapter.target_modules: must match linear layers alone, got '.*(q_proj|[.]norm)', which "
        "matches model.norm too"
    )
    given = {"search": {"parameters": {"adapter.target_modules": {"values": ["q_proj", ".*"]}}}}
    assert refusal(look, small_llama(tie_word_embeddings=True), **given).startswith(
        "search.parameters.adapter.target_modules.values[1]: must match linear layers alone, got "
        "'.*', which matches model.embed_tokens, "
    )
    unknown = {"modules_to_save": ["score"]}
    assert refusal(look, small_llama(tie_word_embeddings=True), adapter=unknown) == (
        "adapter.modules_to_save: must name modules of the model, got score"
    )
    shared = {"modules_to_save": ["lm_head"]}
    assert refusal(look, small_llama(tie_word_embeddings=True), adapter=shared) == (
        "adapter.modules_to_save: must leave out lm_head, which shares its weight with "
        "model.embed_tokens.weight"
    )


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_what_is_chosen_is_counted(look: Look, name: str) -> None:
    adapter = {
        "rank": 4,
        "target_modules": "all-linear",
        "layers": [1],
        "modules_to_save": ["lm_head"] if name == "llama" else ["ln_f"],
    }
    found = look(make(name), adapter=adapter)
    plan = make_plan(found, NODES)
    attached = attach(make(name), AdapterSpec(**adapter), 1)
    assert plan.saved is not None
    assert plan.saved.num_trainable_parameters == (attached.num_trainable,) * 2


def test_embeddings_cannot_be_pruned(look: Look) -> None:
    adapter = {"pruning_rate": 0.5, "target_modules": ["embed_tokens"]}
    assert refusal(look, small_llama(), adapter=adapter) == (
        "adapter.target_modules: must match linear layers where the pruning rate is above 0, got "
        "['embed_tokens']"
    )


@pytest.mark.parametrize(("kind", "most"), [("gpt2", 496), ("opt", 496), ("llama", None)])
def test_sequences_fit_into_learned_positions(look: Look, kind: str, most: int | None) -> None:
    """500 places hold 496 padded tokens; computed places have no end."""
    if kind == "gpt2":
        config: Any = GPT2Config(vocab_size=300, n_embd=32, n_layer=1, n_head=4, n_positions=500)
        targets = ["c_attn"]
    elif kind == "opt":
        config, targets = CONFIGS["opt"]
        config = type(config)(**{**config.to_dict(), "max_position_embeddings": 500})
    else:
        config, targets = LlamaConfig(**{**LLAMA_LIKE, "max_position_embeddings": 500}), ["q_proj"]
    model = AutoModelForCausalLM.from_config(config)
    given = {"adapter": {"rank": 2, "target_modules": list(targets)}}
    if most is None:
        look(model, **given, training={"max_sequence_tokens": 600})
        return
    look(model, **given, training={"max_sequence_tokens": most})
    assert refusal(look, model, **given, training={"max_sequence_tokens": most + 1}) == (
        f"training.max_sequence_tokens: must be at most {most}, since the model has learned "
        f"embeddings of 500 positions and sequences are padded to a multiple of 8, got {most + 1}"
    )


def test_a_response_as_long_as_gpt2s_context_is_refused(look: Look) -> None:
    config = GPT2Config(vocab_size=300, n_embd=32, n_layer=1, n_head=4, n_positions=16)
    model = AutoModelForCausalLM.from_config(config)
    sections = {
        "adapter": {"rank": 2, "target_modules": ["c_attn"]},
        "task": {"benchmarks": ["builtin_math"], "num_train": 8, "num_validation": 4},
        "training": {"max_sequence_tokens": 16},
        "evaluation": {"max_new_tokens": 20},
    }
    with pytest.raises(InputError) as caught:
        look(model, **sections)
    problems = {fault.field: fault.problem for fault in caught.value.faults}
    assert problems.keys() == {"evaluation.max_new_tokens", "training.max_sequence_tokens"}
    assert problems["evaluation.max_new_tokens"].startswith(
        "must be less than 16, the model's context"
    )


def test_an_encoder_decoder_is_refused(look: Look) -> None:
    config = T5Config(vocab_size=300, d_model=32, d_kv=8, d_ff=48, num_layers=1, num_heads=4)
    model = AutoModelForSeq2SeqLM.from_config(config)
    expected = (
        "model.path: must be a causal language model (a decoder), got "
        "T5ForConditionalGeneration, an encoder-decoder"
    )
    assert refusal(look, model, adapter={"target_modules": ["q"]}) == expected


def test_an_encoder_is_refused_also_when_it_is_loaded(look: Look, tmp_path: Path) -> None:
    config = BertConfig(**GPT_LIKE)
    model = AutoModelForMaskedLM.from_config(config)
    expected = (
        "model.path: must be a causal language model (a decoder), got BertForMaskedLM, an encoder"
    )
    assert refusal(look, model, adapter={"target_modules": ["query"]}) == expected
    with pytest.raises(InputError) as caught:
        load_base_model(ModelSpec(path=str(tmp_path / "model")))
    assert str(caught.value) == expected


def test_a_model_without_a_head_is_refused(look: Look) -> None:
    """transformers would give it a random one."""
    assert refusal(look, LlamaModel(LlamaConfig(**LLAMA_LIKE))) == (
        "model.path: must be a causal language model (a decoder), got LlamaModel, which "
        "transformers does not load as one"
    )


def test_a_tokenizer_without_eos_is_refused(look: Look, tmp_path: Path) -> None:
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=make_tokenizer().backend_tokenizer, bos_token="<s>"
    )
    assert refusal(look, small_llama(), tokenizer) == (
        f"model.path: must have a tokenizer with an EOS token, got {tmp_path / 'model'}"
    )


def test_a_pad_token_beyond_the_embedding_is_never_used(look: Look) -> None:
    tokenizer = make_tokenizer(pad_token="[PAD]")
    assert tokenizer.pad_token_id == 258
    look(small_llama(vocab_size=258), tokenizer)


def test_eos_beyond_the_embedding_is_refused(look: Look, tmp_path: Path) -> None:
    tokenizer = make_tokenizer(eos_token="<|end|>")
    assert refusal(look, small_llama(vocab_size=258), tokenizer) == (
        "model.path: must have an embedding of every token, got "
        f"{tmp_path / 'model'}, whose tokenizer gives the eos_token '<|end|>' the number 258 where "
        "the embedding has 258 rows; resize the model's embedding, or use the tokenizer it was "
        "trained with"
    )


def test_a_vocabulary_beyond_the_embedding_is_refused(look: Look) -> None:
    assert "the number 200 where the embedding has 200 rows" in refusal(
        look, small_llama(vocab_size=200)
    )


@pytest.mark.parametrize("output", ["true", "<image> true"])
def test_an_added_token_beyond_the_embedding_matters_where_the_data_has_it(
    look: Look, tmp_path: Path, output: str
) -> None:
    tokenizer = make_tokenizer()
    tokenizer.add_tokens(["<image>"])
    records = [
        {"instruction": f"Say {i}", "input": "", "output": output, "answer": "true"}
        for i in range(20)
    ]
    for split in ("train", "test"):
        folder = tmp_path / "data" / "boolq"
        folder.mkdir(parents=True, exist_ok=True)
        some = [{**record, "instruction": f"{split} {record['instruction']}"} for record in records]
        (folder / f"{split}.json").write_text(json.dumps(some))
    task = {
        "name": "own",
        "benchmarks": ["boolq"],
        "data": str(tmp_path / "data"),
        "num_validation": 4,
    }
    model = small_llama(vocab_size=258)
    if output == "true":
        look(model, tokenizer, task=task)
        return
    assert refusal(look, model, tokenizer, task=task) == (
        "model.path: must have an embedding of every token of the data, got "
        f"{tmp_path / 'model'}, whose embedding has 258 rows and none of '<image>'"
    )


def test_llamas_own_layers_need_no_built_model(look: Look) -> None:
    assert look(small_llama()).as_loaded is None
    assert TrialSpec().adapter.target_modules == look(small_llama()).sweep.adapter.target_modules
