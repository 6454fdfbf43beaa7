"""Everything around vLLM: when it decodes, and what becomes of what an engine gives.

vLLM itself needs a GPU. The engine here decodes with transformers, and with the adapter's files
loaded as any user of PEFT loads them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model

from droplora_sweep.evaluation.backend import choose_backend, saved_rank
from droplora_sweep.evaluation.evaluator import evaluate
from droplora_sweep.evaluation.generation import TransformersGenerator
from droplora_sweep.evaluation.vllm_generator import VllmGenerator, engine_rank
from droplora_sweep.spec import AdapterSpec, EvaluationSpec, ModelSpec, TaskSpec
from droplora_sweep.tasks.loading import load_task

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

HALF = ModelSpec(dtype="bfloat16")
PLAIN = AdapterSpec()
NEVER = "must be transformers or auto, got vllm: "
NO_GPU = f"{NEVER}there is no GPU"
MISSING = f"{NEVER}vLLM is not installed (pip install vllm)"


@pytest.mark.parametrize(
    ("model", "adapter", "place", "problem"),
    [
        (HALF, PLAIN, {}, None),
        (HALF, None, {}, None),
        (HALF, AdapterSpec(method="pissa", rank=256), {}, None),
        (HALF, AdapterSpec(method="lora_drop"), {}, None),
        (HALF, PLAIN, {"is_installed": False}, MISSING),
        (HALF, PLAIN, {"has_gpu": False}, NO_GPU),
        (
            ModelSpec(),
            PLAIN,
            {},
            f"{NEVER}vLLM's LoRA kernels take bfloat16, and the base model is in float32",
        ),
        (
            ModelSpec(dtype="bfloat16", quantization="4bit"),
            PLAIN,
            {},
            f"{NEVER}the base model is held in 4 bits",
        ),
        (
            HALF,
            AdapterSpec(method="dora"),
            {},
            f"{NEVER}vLLM loads no adapter of method dora",
        ),
        (
            HALF,
            AdapterSpec(method="full"),
            {},
            f"{NEVER}full fine-tuning changes the model that vLLM would have to load anew",
        ),
        (
            HALF,
            AdapterSpec(modules_to_save=["lm_head"]),
            {},
            f"{NEVER}vLLM loads no adapter with whole modules (`adapter.modules_to_save`)",
        ),
        (
            HALF,
            AdapterSpec(rank=8, module_ranks={"q_proj": 600}),
            {},
            f"{NEVER}vLLM takes ranks up to 512, and the adapter is saved at 600",
        ),
        (
            HALF,
            AdapterSpec(method="milora", rank=300),
            {},
            f"{NEVER}vLLM takes ranks up to 512, and the adapter is saved at 600",
        ),
    ],
)
def test_vllm_decodes_where_it_can(
    model: ModelSpec, adapter: AdapterSpec | None, place: dict[str, bool], problem: str | None
) -> None:
    place = {"is_installed": True, "has_gpu": True, **place}

    def chosen(backend: str) -> Any:
        return choose_backend(EvaluationSpec(backend=backend), model, adapter, **place)

    assert chosen("vllm") == ("vllm", problem)
    assert chosen("auto") == ("transformers", None), "it is chosen by name"
    assert chosen("transformers") == ("transformers", None)


def test_an_engine_takes_the_next_rank_that_vllm_knows() -> None:
    assert [engine_rank(rank) for rank in (1, 2, 8, 9, 33, 300, 512)] == [
        1,
        8,
        8,
        16,
        64,
        320,
        512,
    ]
    assert saved_rank(AdapterSpec(rank=8)) == 8
    assert saved_rank(AdapterSpec(rank=8, method="pissa")) == 16


class PeftEngine:
    """Loads an adapter's files onto the base model for each call; what follows EOS is kept."""

    def __init__(self, base: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
        self._base, self._tokenizer = base, tokenizer
        self.stop_ids: Sequence[int] = ()

    def complete(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        stop_ids: Sequence[int],
        adapter: Path | None,
    ) -> list[list[int]]:
        self.stop_ids = stop_ids
        model = self._base if adapter is None else PeftModel.from_pretrained(self._base, adapter)
        decode = TransformersGenerator(model, self._tokenizer, frozenset(stop_ids), 4)
        decoded = decode.generate(prompts, max_new_tokens=max_new_tokens)
        if adapter is not None:
            model.unload()
        return [[*tokens, *[7] * (max_new_tokens - len(tokens))] for tokens in decoded]


@pytest.mark.parametrize("protocol", ["paper", "strict"])
def test_results_are_those_of_the_model_with_its_adapter(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    protocol: str,
) -> None:
    task = load_task(TaskSpec(num_train=1, num_validation=4))
    spec = EvaluationSpec(
        max_new_tokens=10, protocol=protocol, batch_size=3, allow_unsandboxed_code=True
    )
    base = evaluate(model, tokenizer, task, spec)
    adapted = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj", "up_proj"]))
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(0))
    expected = evaluate(adapted, tokenizer, task, spec)
    adapted.save_pretrained(tmp_path)
    plain = adapted.unload()

    engine = PeftEngine(plain, tokenizer)
    eos_ids = frozenset({tokenizer.eos_token_id})
    for folder, results in ((tmp_path, expected), (None, base)):
        generator = VllmGenerator(engine, tokenizer, eos_ids, folder)
        assert evaluate(plain, tokenizer, task, spec, generator=generator) == results
    assert engine.stop_ids == [tokenizer.eos_token_id]
    assert expected != base
