"""A sweep's conversations are checked against the chat template before anything is trained."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from droplora_sweep.errors import InputError
from droplora_sweep.models.resolving import BUILTIN_FOLDER
from droplora_sweep.plan.survey import prepare, survey
from droplora_sweep.spec import load_sweep_file

if TYPE_CHECKING:
    from pathlib import Path

SAID = [
    {"role": "user", "content": "Say 0"},
    {"role": "assistant", "content": "0"},
    {"role": "user", "content": "And 1?"},
    {"role": "assistant", "content": "1"},
]


def written(folder: Path, **changes: Any) -> Any:
    (folder / "chat.json").write_text(json.dumps([{"messages": SAID}]))
    task = {
        "benchmarks": ["builtin_choice"],
        "num_validation": 4,
        "prompt": "chat",
        "train": {"name": "mine", "data": str(folder / "chat.json")},
        **changes.pop("task", {}),
    }
    parameters = {"adapter.pruning_rate": {"values": [0.0, 0.5]}}
    file = folder / "s.yaml"
    values = {"name": "q", "task": task, "search": {"num_trials": 2, "parameters": parameters}}
    file.write_text(yaml.safe_dump({**values, **changes}))
    return load_sweep_file(file)


def copied_model(folder: Path, template: str | None) -> str:
    """The built-in model with another chat template."""
    shutil.copytree(BUILTIN_FOLDER, folder / "model")
    (folder / "model" / "chat_template.jinja").unlink()
    if template is not None:
        (folder / "model" / "chat_template.jinja").write_text(template)
    return str(folder / "model")


def test_the_form_is_named_and_the_template_is_part_of_the_data(tmp_path: Path) -> None:
    found = prepare(written(tmp_path))
    assert found.data_notes == (
        f"{tmp_path}/chat.json: read as OpenAI messages: 1 conversations, 1 of several turns, "
        "0 with a system's text",
    )
    digests = found.data_digests()
    assert found.chat is not None
    assert digests["chat_template"] == found.chat.digest
    plain = prepare(written(tmp_path, task={"prompt": None})).data_digests()
    assert "chat_template" not in plain


def test_another_template_is_another_digest(tmp_path: Path) -> None:
    text = (BUILTIN_FOLDER / "chat_template.jinja").read_text()
    own = prepare(written(tmp_path)).data_digests()["chat_template"]
    path = copied_model(tmp_path, text + "{# changed #}")
    changed = prepare(written(tmp_path, model={"path": path})).data_digests()["chat_template"]
    assert own != changed


REWRITES = (
    "{% for one in messages %}{{ one.role + ': ' }}"
    "{% if loop.last and one.role == 'assistant' %}{{ '(thinks) ' }}{% endif %}"
    "{{ one.content + eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)
REFUSED = {
    "none": (None, "task.prompt: must be a text where the tokenizer has no chat template"),
    "rewrites": (REWRITES, "task.loss_on: must be last_turn, got all_turns"),
}


@pytest.mark.parametrize(("template", "problem"), REFUSED.values(), ids=REFUSED.keys())
def test_a_template_that_does_not_do_is_refused_at_its_field(
    tmp_path: Path, template: str | None, problem: str
) -> None:
    path = copied_model(tmp_path, template)
    with pytest.raises(InputError) as caught:
        survey(written(tmp_path, model={"path": path}))
    [line] = str(caught.value).splitlines()
    assert f"{tmp_path}/s.yaml:" in line
    assert problem in line
    if template is not None:
        survey(written(tmp_path, model={"path": path}, task={"loss_on": "last_turn"}))


def test_a_template_with_the_date_is_told_of(tmp_path: Path) -> None:
    text = (BUILTIN_FOLDER / "chat_template.jinja").read_text()
    path = copied_model(tmp_path, text + "{% if false %}{{ strftime_now('%Y') }}{% endif %}")
    found = survey(written(tmp_path, model={"path": path}))
    assert found.data_notes[1:] == (
        "the chat template can write today's date into each prompt: trials of another day may be "
        "trained and scored on other prompts",
    )


@pytest.mark.parametrize("field", ["system", "loss_on"])
def test_fields_of_a_chat_need_one(tmp_path: Path, field: str) -> None:
    value = {"system": "You help.", "loss_on": "last_turn"}[field]
    with pytest.raises(InputError, match=rf"task\.{field}: must be left out unless `prompt: chat`"):
        written(tmp_path, task={"prompt": None, field: value})


def test_a_limit_that_no_first_answer_fits_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        survey(written(tmp_path, training={"max_sequence_tokens": 4}))
    [line] = str(caught.value).splitlines()
    found = re.search(
        r"training\.max_sequence_tokens: must leave some of 1 training examples, the shortest of "
        r"which has (\d+) tokens, got 4$",
        line,
    )
    assert found is not None, line
    shortest = int(found[1])
    survey(written(tmp_path, training={"max_sequence_tokens": shortest}))
    with pytest.raises(InputError, match=f"has {shortest} tokens, got {shortest - 1}$"):
        survey(written(tmp_path, training={"max_sequence_tokens": shortest - 1}))
