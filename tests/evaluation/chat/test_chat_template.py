"""A conversation's tokens are transformers' own, and its counted tokens are the answers alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from droplora_sweep.errors import InputError
from droplora_sweep.evaluation.chat_template import ChatTemplate
from droplora_sweep.models.loading import load_tokenizer
from droplora_sweep.spec import ModelSpec
from droplora_sweep.tasks.task import Message, render_turn

from .conftest import BEGINNINGS, ENDS, conversation, make_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from droplora_sweep.evaluation.encoding import Encoded

KINDS = tuple(ENDS)
TWO_TURNS = conversation("Who wrote it?", "The writer.", "When?", "In 1900.")
TEXTS = st.text(st.sampled_from("ab the1 2\n.,é漢🙂'"), min_size=1, max_size=12).filter(
    lambda text: bool(text.strip())
)


def plain(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [one._asdict() for one in messages]


def marked(tokenizer: Any, messages: Sequence[Message]) -> tuple[list[int], np.ndarray]:
    """Tokens and assistant mask as transformers gives them to TRL."""
    rows = tokenizer.apply_chat_template(
        plain(messages), tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    return rows["input_ids"], np.array(rows["assistant_masks"], bool)


def encode(tokenizer: Any, messages: Sequence[Message], loss_on: Any = "all_turns") -> Encoded:
    [found] = ChatTemplate(tokenizer).encode([messages], loss_on)
    assert found is not None
    return found


def counted_texts(tokenizer: Any, sequence: Encoded) -> list[str]:
    """The text of each run of counted tokens."""
    is_counted, runs = sequence.is_counted, []
    for index in np.flatnonzero(is_counted):
        if not is_counted[index - 1]:
            runs.append([])
        runs[-1].append(int(sequence.tokens[index]))
    return [tokenizer.decode(run) for run in runs]


@pytest.mark.parametrize("system", [None, "You help."])
@pytest.mark.parametrize("kind", KINDS)
def test_the_answers_and_their_ends_are_counted(
    tokenizer_of: Callable[..., Any], kind: str, system: str | None
) -> None:
    tokenizer, end = tokenizer_of(kind), ENDS[kind]
    said = conversation("Who wrote it?", "The writer.", "When?", "In 1900.", system=system)
    sequence = encode(tokenizer, said)
    texts = [text.strip() for text in counted_texts(tokenizer, sequence)]
    assert texts == [f"The writer.{end}", f"In 1900.{end}"]
    last = encode(tokenizer, said, "last_turn")
    assert [text.strip() for text in counted_texts(tokenizer, last)] == [f"In 1900.{end}"]
    assert last.counted is None
    assert list(last.tokens) == list(sequence.tokens)
    assert int(last.tokens[-1]) == tokenizer.convert_tokens_to_ids(end)


@pytest.mark.parametrize("kind", KINDS)
def test_the_tokens_are_those_of_transformers(tokenizer_of: Callable[..., Any], kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    theirs, _ = marked(tokenizer_of(kind, f"{kind}_marked"), TWO_TURNS)
    ours = encode(tokenizer, TWO_TURNS).tokens
    assert list(ours) == theirs[: len(ours)]
    assert tokenizer.decode(theirs[len(ours) :]).strip() == ""


@pytest.mark.parametrize("kind", KINDS)
def test_every_answers_prompt_is_what_an_evaluation_asks(
    tokenizer_of: Callable[..., Any], kind: str
) -> None:
    tokenizer = tokenizer_of(kind)
    template, sequence = ChatTemplate(tokenizer), encode(tokenizer, TWO_TURNS)
    starts = np.flatnonzero(sequence.is_counted & ~np.roll(sequence.is_counted, 1))
    for start, asked in zip(starts, (TWO_TURNS[:1], TWO_TURNS[:3]), strict=True):
        [prompt] = template.tokens([template.prompt(asked)])
        assert list(sequence.tokens[:start]) == prompt
        theirs = tokenizer.apply_chat_template(
            plain(asked), tokenize=True, add_generation_prompt=True, return_dict=True
        )
        assert prompt == theirs["input_ids"]


@pytest.mark.parametrize("kind", ["llama", "mistral"])
def test_bos_is_there_once(tokenizer_of: Callable[..., Any], kind: str) -> None:
    """These tokenizers begin every text with BOS, and their templates do too."""
    tokenizer = tokenizer_of(kind)
    assert tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id
    template = ChatTemplate(tokenizer)
    [prompt] = template.tokens([template.prompt(TWO_TURNS[:1])])
    for tokens in (prompt, encode(tokenizer, TWO_TURNS).tokens.tolist()):
        assert tokens[0] == tokenizer.bos_token_id
        assert tokens.count(tokenizer.bos_token_id) == 1
    assert tokenizer.decode(prompt).startswith(BEGINNINGS[kind])


CONVERSATIONS = st.tuples(
    st.none() | TEXTS, st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=3)
)


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=25)
@given(said=CONVERSATIONS)
def test_with_and_without_marks_the_same_is_counted(kind: str, said: Any) -> None:
    """Prefix rendering finds what the marks say, where no token is across a border."""
    system, exchanges = said
    messages = conversation(*(text for pair in exchanges for text in pair), system=system)
    tokenizer, with_marks = TOKENIZERS[kind], TOKENIZERS[f"{kind}_marked"]
    for loss_on in ("all_turns", "last_turn"):
        ours, theirs = (encode(one, messages, loss_on) for one in (tokenizer, with_marks))
        tokens, mask = marked(with_marks, messages)
        ends = np.flatnonzero(mask & ~np.append(mask[1:], False)) + 1
        template = ChatTemplate(tokenizer)
        texts = [template.prompt(messages[:index]) for index in asked_at(messages)]
        starts = [len(one) for one in template.tokens(texts)]
        firsts = np.flatnonzero(mask & ~np.roll(mask, 1)).tolist()
        prompts = template.tokens(texts)
        is_exact = firsts == starts and all(tokens[: len(prompt)] == prompt for prompt in prompts)
        assert int(ours.tokens[-1]) == tokenizer.convert_tokens_to_ids(ENDS[kind])
        if not is_exact:
            # A token across a border: each prompt is still what an evaluation asks.
            assert ours.tokens[: len(prompts[0])].tolist() == prompts[0] or loss_on == "last_turn"
            continue
        if loss_on == "last_turn":
            mask[: starts[-1]] = False
        assert ours.tokens.tolist() == tokens[: ends[-1]]
        assert ours.is_counted.tolist() == mask[: ends[-1]].tolist()
        assert theirs.tokens.tolist() == ours.tokens.tolist()
        assert theirs.is_counted.tolist() == ours.is_counted.tolist()


def asked_at(messages: Sequence[Message]) -> list[int]:
    return [index for index, one in enumerate(messages) if one.role == "assistant"]


TOKENIZERS = {
    f"{kind}{suffix}": make_tokenizer(kind, f"{kind}{suffix}")
    for kind in KINDS
    for suffix in ("", "_marked")
}


def test_a_template_that_rewrites_earlier_answers(tokenizer_of: Callable[..., Any]) -> None:
    tokenizer = tokenizer_of("chatml", "thinking")
    tokenizer.name_or_path = "thinker"
    with pytest.raises(InputError) as caught:
        encode(tokenizer, TWO_TURNS)
    assert str(caught.value) == (
        "task.loss_on: must be last_turn, got all_turns: the chat template of thinker writes an "
        "answer otherwise once more turns follow, "
        r"'im_start|>assistant\n<think>\n\n</think>\n\nT' as "
        r"'im_start|>assistant\nThe writer.<|im_end|'"
    )
    [text] = counted_texts(tokenizer, encode(tokenizer, TWO_TURNS, "last_turn"))
    assert text == "<think>\n\n</think>\n\nIn 1900.<|im_end|>"
    [text] = counted_texts(tokenizer, encode(tokenizer, TWO_TURNS[:2]))
    assert text == "<think>\n\n</think>\n\nThe writer.<|im_end|>"


def test_a_mark_that_leaves_out_the_end_does_not_train_an_answer_that_never_ends() -> None:
    tokenizer = make_tokenizer("chatml", "chatml_marked")
    text = tokenizer.chat_template
    tokenizer.chat_template = text.replace(
        "{{- message['content'] + '<|im_end|>' -}}\n{%- endgeneration -%}",
        "{{- message['content'] -}}\n{%- endgeneration -%}{{- '<|im_end|>' -}}",
    )
    assert tokenizer.chat_template != text
    texts = counted_texts(tokenizer, encode(tokenizer, TWO_TURNS))
    assert texts == ["The writer.<|im_end|>", "In 1900.<|im_end|>"]


def test_a_template_without_an_end_gets_eos() -> None:
    tokenizer = make_tokenizer("chatml")
    tokenizer.chat_template = (
        "{% for one in messages %}{{ one.role + ': ' + one.content + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    )
    texts = counted_texts(tokenizer, encode(tokenizer, TWO_TURNS))
    assert texts == ["The writer.", "In 1900.<|im_end|>"]
    assert ChatTemplate(tokenizer).end_id == tokenizer.eos_token_id


REFUSED = {
    "none": (
        None,
        "task.prompt: must be a text where the tokenizer has no chat template, got chat and plain, "
        "which has none; put its chat_template.jinja into the model's folder, or leave "
        "`task.prompt` out",
    ),
    "no answers": (
        "{% for one in messages %}{{ one.role }}{% endfor %}",
        "task.prompt: must have a chat template that writes answers, got chat and plain, whose "
        "template writes 'userassistant'",
    ),
    "it opens an answer with a thought": (
        "{% for one in messages %}{{ one.role + ':' + one.content }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant:<think>' }}{% endif %}",
        "task.prompt: must open an answer as it writes one, got chat: the chat template of plain "
        "opens it with 'lp.user:Q?assistant:<think>' and then writes 'lp.user:Q?assistant:A.'",
    ),
    "no system": (
        "{% for one in messages if one.role != 'system' %}{{ one.content }}{% endfor %}",
        "task.prompt: must write the system's text, got chat: the chat template of plain leaves "
        "out 'You help.'",
    ),
    "it refuses systems": (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system, sorry') }}{% endif %}"
        "{% for one in messages %}{{ one.content }}{% endfor %}",
        "task.prompt: must suit the conversations, got chat: the chat template of plain refuses "
        "one that begins with system's 'You help.': no system, sorry",
    ),
}


@pytest.mark.parametrize(("template", "problem"), REFUSED.values(), ids=REFUSED.keys())
def test_templates_that_are_refused(template: str | None, problem: str) -> None:
    tokenizer = make_tokenizer("chatml")
    tokenizer.chat_template, tokenizer.name_or_path = template, "plain"
    with pytest.raises(InputError) as caught:
        encode(tokenizer, conversation("Q?", "A.", system="You help."))
    assert str(caught.value).startswith(problem)


def test_a_token_across_the_border_does_not_hide_the_answer() -> None:
    """GPT-2's words: a line end before letters is another token than one before a line end."""
    tokenizer = make_tokenizer("chatml")
    tokenizer.chat_template = tokenizer.chat_template.replace("assistant\\n", "assistant\\n\\n")
    tokenizer.chat_template = tokenizer.chat_template.replace(
        "['role'] + '\\n'", "['role'] + '\\n\\n'"
    )
    template = ChatTemplate(tokenizer)
    messages = conversation("Q?", "\nA.")
    sequence = encode(tokenizer, messages)
    [prompt] = template.tokens([template.prompt(messages[:1])])
    assert sequence.tokens[: sequence.num_prompt_tokens].tolist() == prompt
    assert counted_texts(tokenizer, sequence) == ["\nA.<|im_end|>"]


def test_the_built_in_models_template_is_the_papers_prompt() -> None:
    """A chat of one turn has the very tokens of the prompt that the model was pretrained on."""
    from droplora_sweep.evaluation.prompting import prompts_of
    from droplora_sweep.spec import TaskSpec
    from droplora_sweep.tasks.loading import load_task

    tokenizer = load_tokenizer(ModelSpec())
    task = TaskSpec(benchmarks=("builtin_choice", "builtin_code"), num_train=20, num_validation=2)
    plain_task = load_task(task)
    chat = load_task(task.model_copy(update={"prompt": "chat"}))
    found = [
        prompts_of(tokenizer, one).encode(one.training_examples(), "all_turns")
        for one in (plain_task, chat)
    ]
    assert len(found[0]) == 40
    for one, other in zip(*found, strict=True):
        assert one is not None
        assert other is not None
        assert one.tokens.tolist() == other.tokens.tolist()
        assert one.num_prompt_tokens == other.num_prompt_tokens
    benchmark = plain_task.benchmarks[0]
    asked = [benchmark.render_prompt(one) for one in benchmark.train[:2]]
    said = conversation(benchmark.train[0].instruction, "yes", benchmark.train[1].instruction)
    text = ChatTemplate(tokenizer).prompt(said)
    assert text.replace("</s>", "") == render_turn(asked, ["yes"])
