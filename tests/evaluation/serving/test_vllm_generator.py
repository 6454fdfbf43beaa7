"""Results of vLLM's responses, and of evaluations whose vLLM fails; vLLM is scripted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from droplora_sweep.evaluation.evaluator import evaluate, transformers_generator
from droplora_sweep.evaluation.serving.backend import backend_problem, sampling_problem, saved_rank
from droplora_sweep.evaluation.serving.client import ServerSettings, VllmServer
from droplora_sweep.evaluation.serving.vllm_generator import VllmGenerator
from droplora_sweep.spec import AdapterSpec, EvaluationSpec, ModelSpec, TaskSpec
from droplora_sweep.spec.evaluation import SamplingSpec
from droplora_sweep.tasks.loading import load_task
from tests.evaluation.serving.environment import use_scripted_vllm

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

    from droplora_sweep.evaluation.generation import TransformersGenerator

HALF = ModelSpec(dtype="bfloat16")
PLAIN = AdapterSpec()
NEVER = "must be transformers or auto, got vllm: "


@pytest.mark.parametrize(
    ("model", "adapter", "place", "problem"),
    [
        (HALF, PLAIN, {}, None),
        (HALF, AdapterSpec(method="pissa", rank=256), {}, None),
        (HALF, AdapterSpec(method="lora_drop"), {}, None),
        (HALF, AdapterSpec(method="rslora"), {}, None),
        (HALF, AdapterSpec(module_ranks={"q_proj": 4}), {}, None),
        (ModelSpec(), PLAIN, {"on_gpu": False}, None),
        (HALF, PLAIN, {"missing": "there is no vLLM in x"}, f"{NEVER}there is no vLLM in x"),
        (
            ModelSpec(),
            PLAIN,
            {},
            f"{NEVER}vLLM's LoRA kernels on GPUs take bfloat16, and the base model is in float32",
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
            f"{NEVER}vLLM loads no adapter of method dora, with DoRA's magnitudes",
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
    model: ModelSpec, adapter: AdapterSpec, place: dict[str, Any], problem: str | None
) -> None:
    place = {"missing": None, "on_gpu": True, **place}

    def found(backend: str) -> str | None:
        return backend_problem(EvaluationSpec(backend=backend), model, adapter, **place)

    assert found("vllm") == problem
    assert found("auto") is None, "it is chosen by name"
    assert found("transformers") is None


def test_cpus_have_no_seeded_samples_of_vllm() -> None:
    sampled = EvaluationSpec(backend="vllm", sampling=SamplingSpec(num_samples=10))

    problem = f"{NEVER}on CPUs vLLM draws no samples from seeds (`evaluation.sampling`)"
    assert sampling_problem(sampled, on_gpu=False) == problem
    assert sampling_problem(sampled, on_gpu=True) is None
    assert sampling_problem(EvaluationSpec(backend="vllm"), on_gpu=False) is None


def test_the_rank_of_a_saved_adapter() -> None:
    assert saved_rank(AdapterSpec(rank=8)) == 8
    assert saved_rank(AdapterSpec(rank=8, method="pissa")) == 16


SPEC = EvaluationSpec(max_new_tokens=10, batch_size=3, allow_unsandboxed_code=True)
TASK = TaskSpec(num_train=1, num_validation=4)


class Recorded:
    """The model's own generator, which keeps what it was asked and what it said."""

    def __init__(self, generator: TransformersGenerator) -> None:
        self._generator = generator
        self.note = None
        self.answers: list[tuple[list[int], list[int]]] = []

    def generate(self, prompts: Sequence[Sequence[int]], **options: Any) -> list[list[int]]:
        responses = self._generator.generate(prompts, **options)
        self.answers += zip(map(list, prompts), responses, strict=True)
        return responses


@pytest.fixture
def own(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> TransformersGenerator:
    return transformers_generator(model, tokenizer, frozenset({tokenizer.eos_token_id}), SPEC)


@pytest.fixture
def generator(own: TransformersGenerator) -> Iterator[VllmGenerator]:
    """It starts its server when it is first asked, and again where that is gone."""
    servers: list[VllmServer] = []
    settings = ServerSettings(
        model=Path("/m"), dtype="float32", max_rank=8, max_tokens=512, max_sequences=4
    )

    def server_for(num_tokens: int) -> VllmServer:
        assert num_tokens <= settings.max_tokens
        if not servers or not servers[-1].is_running:
            servers.append(VllmServer(settings))
        return servers[-1]

    yield VllmGenerator(server_for=server_for, fallback=own)
    for server in servers:
        server.close()


@pytest.mark.parametrize("protocol", ["paper", "strict"])
def test_results_are_those_of_its_responses(
    own: TransformersGenerator,
    generator: VllmGenerator,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    protocol: str,
) -> None:
    spec = SPEC.model_copy(update={"protocol": protocol})
    task, recorded = load_task(TASK), Recorded(own)
    expected = evaluate(own.model, own.tokenizer, task, spec, generator=recorded)
    answers = tmp_path / "answers"
    # It goes on behind what a stop rule calls complete, as far as it may.
    answers.write_text(json.dumps(recorded.answers))
    use_scripted_vllm(monkeypatch, tmp_path, answers=str(answers))
    assert evaluate(own.model, own.tokenizer, task, spec, generator=generator) == expected
    assert generator.note is None
    assert (generator.num_by_vllm, generator.num_by_fallback) == (len(expected), 0)
    assert generator.num_likeliest == generator.num_compared > 0


@pytest.mark.parametrize("fault", ["die", "killed", "raise"])
def test_transformers_answers_what_vllm_does_not(
    own: TransformersGenerator,
    generator: VllmGenerator,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    fault: str,
) -> None:
    task = load_task(TASK)
    expected = evaluate(own.model, own.tokenizer, task, SPEC)
    use_scripted_vllm(monkeypatch, tmp_path, at="step", fault=fault)
    found = evaluate(own.model, own.tokenizer, task, SPEC, generator=generator)
    assert [one.response for one in found] == [one.response for one in expected]
    assert [one.score for one in found] == [one.score for one in expected]
    assert generator.num_by_fallback == len(found)
    assert {one.note for one in found} == {f"decoded by transformers: {generator.failure}"}
    [warning] = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    expected_warning = "transformers decodes in vLLM's place from here on: "
    assert warning == f"{expected_warning}{generator.failure}"


def test_responses_that_are_not_the_models_are_not_taken(
    own: TransformersGenerator,
    generator: VllmGenerator,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    task = load_task(TASK)
    expected = evaluate(own.model, own.tokenizer, task, SPEC)
    use_scripted_vllm(monkeypatch, tmp_path)
    found = evaluate(own.model, own.tokenizer, task, SPEC, generator=generator)
    assert [one.response for one in found] == [one.response for one in expected]
    assert generator.failure is not None
    assert generator.failure.startswith("vLLM's responses are not the model's: of ")


def test_samples_are_vllms(
    own: TransformersGenerator,
    generator: VllmGenerator,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """They have no likeliest token to be compared by; the seeds are its own."""
    use_scripted_vllm(monkeypatch, tmp_path)
    task = load_task(TaskSpec(benchmarks=("builtin_code",), num_train=1, num_validation=2))
    spec = SPEC.model_copy(update={"sampling": SamplingSpec(num_samples=2, pass_at=(1,))})
    found = evaluate(own.model, own.tokenizer, task, spec, generator=generator)
    assert len(found) == 4
    assert (generator.num_by_vllm, generator.num_compared) == (4, 0)
