"""Whatever reads a conversation, and whatever decodes it, sees the same tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from droplora_sweep.evaluation.chat_template import ChatTemplate
from droplora_sweep.evaluation.context import prompt_lengths
from droplora_sweep.evaluation.evaluator import eos_ids_of, evaluate
from droplora_sweep.evaluation.prompting import prompts_of
from droplora_sweep.models.loading import load_base_model, load_tokenizer
from droplora_sweep.spec import EvaluationSpec, ModelSpec, TaskSpec
from droplora_sweep.tasks.loading import load_task
from droplora_sweep.tasks.task import Message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from droplora_sweep.tasks.task import Task

SYSTEM = "You help."


class Recorder:
    """A backend that keeps what it is given and says nothing but the end."""

    note = None

    def __init__(self, end_id: int) -> None:
        self._end_id = end_id
        self.prompts: list[list[int]] = []

    def generate(self, prompts: Sequence[Sequence[int]], **_: Any) -> list[list[int]]:
        self.prompts += [list(prompt) for prompt in prompts]
        return [[self._end_id] for _ in prompts]


@pytest.fixture(scope="module")
def model() -> Any:
    return load_base_model(ModelSpec())


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return load_tokenizer(ModelSpec())


@pytest.fixture(scope="module", params=[None, SYSTEM], ids=["no system", "system"])
def task(request: pytest.FixtureRequest) -> Task:
    return load_task(
        TaskSpec(
            benchmarks=("builtin_choice",),
            prompt="chat",
            system=request.param,
            num_train=4,
            num_validation=4,
        )
    )


def rendered(tokenizer: Any, task: Task) -> list[list[int]]:
    """transformers' own tokens of each validation prompt."""
    [benchmark] = task.benchmarks
    return [
        tokenizer.apply_chat_template(
            [message._asdict() for message in benchmark.messages(example)],
            tokenize=True,
            add_generation_prompt=True,
            return_dict=True,
        )["input_ids"]
        for example in benchmark.validation
    ]


def test_a_backend_is_given_transformers_own_tokens(model: Any, tokenizer: Any, task: Task) -> None:
    backend = Recorder(tokenizer.eos_token_id)
    evaluate(model, tokenizer, task, EvaluationSpec(), generator=backend)
    expected = rendered(tokenizer, task)
    assert sorted(backend.prompts) == sorted(expected)
    eos_ids = eos_ids_of(model, tokenizer, prompts_of(tokenizer, task))
    assert eos_ids == {tokenizer.eos_token_id}
    longest = prompt_lengths(task, tokenizer, EvaluationSpec(), None).longest
    limit = min(EvaluationSpec().max_new_tokens, task.benchmarks[0].max_new_tokens)
    assert longest == max(map(len, expected)) + limit


def test_what_is_scored_is_what_is_trained_on(model: Any, tokenizer: Any, task: Task) -> None:
    """Options and likelihoods by our passes, and by transformers over the training sequences."""
    [benchmark] = task.benchmarks
    spec = EvaluationSpec(choice="score", likelihood=True)
    results = evaluate(model, tokenizer, task, spec)
    asked = [(benchmark, example) for example in benchmark.validation]
    sequences = prompts_of(tokenizer, task).encode(asked, "all_turns")
    options = [f"the correct answer is {one}" for one in benchmark.scorer.closed_answers]
    for (_, example), sequence, result in zip(asked, sequences, results, strict=True):
        assert sequence is not None
        tokens = torch.from_numpy(sequence.tokens).long()
        with torch.no_grad():
            logs = model(tokens[None]).logits[0].float().log_softmax(-1)
        own = range(sequence.num_prompt_tokens, len(tokens))
        expected = sum(float(logs[place - 1, tokens[place]]) for place in own)
        assert result.reference_log_probability == pytest.approx(expected, abs=1e-3)
        assert result.response in options
        totals = []
        template = ChatTemplate(tokenizer)
        for option in options:
            said = [*benchmark.messages(example), Message("assistant", option)]
            [answered] = template.encode([said], "last_turn")
            assert answered is not None
            whole = torch.from_numpy(answered.tokens).long()
            with torch.no_grad():
                logs = model(whole[None]).logits[0].float().log_softmax(-1)
            own = range(answered.num_prompt_tokens, len(whole) - 1)
            totals.append(sum(float(logs[place - 1, whole[place]]) for place in own))
        # The options of this benchmark part in one token, so that the best is the chosen one.
        assert options[max(range(len(options)), key=totals.__getitem__)] == result.response


def test_a_later_turn_is_asked_with_the_models_own_answers(tokenizer: Any, task: Task) -> None:
    from dataclasses import replace

    [benchmark] = task.benchmarks
    two = replace(benchmark.validation[0], turns=("Name a colour.", "Another?"))
    said = [tuple(one) for one in benchmark.messages(two, ["Red."])]
    opening = [] if benchmark.system is None else [("system", SYSTEM)]
    turns = [("user", "Name a colour."), ("assistant", "Red."), ("user", "Another?")]
    assert said == opening + turns
    text = prompts_of(tokenizer, task).turn(benchmark, two, ["Red."])
    assert text.endswith("Another?\n\n### Response:\n")
    assert "Red.</s>" in text
