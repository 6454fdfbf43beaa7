"""A task's benchmarks are a list of names, or a mapping of names to what they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from droplora_sweep.spec import TaskSpec

if TYPE_CHECKING:
    from collections.abc import Callable


def test_the_mapping_form_keeps_names_and_specs_apart() -> None:
    mine = {"data": "x.jsonl", "scoring": "choice", "options": ["a", "b"]}
    task = TaskSpec.model_validate({"benchmarks": {"boolq": None, "mine": mine}})

    assert task.benchmarks == ("boolq", "mine")
    assert set(task.benchmark_specs) == {"mine"}
    assert task.benchmark_specs["mine"].options == ("a", "b")
    assert TaskSpec.model_validate(task.model_dump()) == task
    assert TaskSpec.model_validate(task.model_dump(mode="json")) == task


OTHERS = (
    "'exact', 'regex', 'f1', 'exact_match', 'bleu', 'chrf', 'rouge1', 'rouge2', 'rougeL', "
    "'command' or MODULE:FUNCTION"
)
FAULTS = {
    "scoring": (
        "benchmarks: {mine: {scoring: chioce}}",
        "task.benchmarks.mine.scoring: must be 'choice', 'number', 'math', 'code', 'judge', "
        f"{OTHERS}, got 'chioce'; did you mean choice?",
    ),
    "scoring of all": (
        "scoring: blue",
        "task.scoring: must be 'choice', 'number', 'math', 'code', 'judge', "
        f"{OTHERS}, got 'blue'; did you mean bleu?",
    ),
    "scoring by another name": (
        "benchmarks: {mine: {scoring: rouge}}",
        "task.benchmarks.mine.scoring: must be 'choice', 'number', 'math', 'code', 'judge', "
        f"{OTHERS}, got 'rouge'; did you mean rougeL?",
    ),
    "metric": (
        "benchmarks: {mine: {scoring: exact, metrics: [makro_f1]}}",
        "task.benchmarks.mine.metrics[0]: must be 'f1', 'exact_match', 'macro_f1', 'bleu', 'chrf', "
        "'rouge1', 'rouge2', 'rougeL', got 'makro_f1'; did you mean macro_f1?",
    ),
    "no command": (
        "benchmarks: {mine: {scoring: command}}",
        "task.benchmarks.mine.command: must be given for `scoring: command`, as a list of a "
        "program and its arguments, got none",
    ),
    "command as text": (
        "benchmarks: {mine: {scoring: command, command: python score.py}}",
        "task.benchmarks.mine.command: must be a list, got 'python score.py'",
    ),
    "needless command": (
        "benchmarks: {mine: {scoring: exact, command: [score]}}",
        "task.benchmarks.mine.command: must be left out unless `scoring: command`, got 'score'",
    ),
    "needless time": (
        "benchmarks: {mine: {scoring: exact, command_timeout_s: 5}}",
        "task.benchmarks.mine.command_timeout_s: must be left out unless `scoring: command`, got 5",
    ),
    "no time": (
        "benchmarks: {mine: {scoring: command, command: [score], command_timeout_s: 0}}",
        "task.benchmarks.mine.command_timeout_s: must be greater than 0, got 0",
    ),
    "direction": (
        "benchmarks: {mine: {scoring: exact, direction: lower}}",
        "task.benchmarks.mine.direction: must be left out unless `scoring` is a command or a "
        "function of your own, got lower",
    ),
    "other direction": (
        "benchmarks: {mine: {scoring: 'a:f', direction: down}}",
        "task.benchmarks.mine.direction: must be 'higher' or 'lower', got 'down'",
    ),
    "unknown key": (
        "benchmarks: {mine: {patern: x}}",
        "task.benchmarks.mine.patern: unknown key, did you mean `pattern`?",
    ),
    "no pattern": (
        "benchmarks: {mine: {scoring: regex}}",
        "task.benchmarks.mine.pattern: must be given for `scoring: regex`, got null",
    ),
    "pattern": (
        "benchmarks: {mine: {scoring: regex, pattern: '('}}",
        "task.benchmarks.mine.pattern: must be a regular expression, got '(': "
        "missing ), unterminated subpattern",
    ),
    "field": (
        "benchmarks: {mine: {fields: {qestion: a}}}",
        "task.benchmarks.mine.fields.qestion: must be 'instruction', 'input', 'output', 'answer' "
        "or 'id', got 'qestion'",
    ),
    "no mapping": (
        "benchmarks: {mine: 3}",
        "task.benchmarks.mine: must be a mapping, got 3",
    ),
    "no file": (
        "benchmarks: {mine: {data: no/mine.jsonl}}",
        "task.benchmarks.mine.data: must be an existing file or folder, got 'no/mine.jsonl'",
    ),
    "no revision": (
        "train: {name: metamathqa, data: meta-math/MetaMathQA}",
        "task.train.revision: must be given: the commit to use, since `task.train.data` is no "
        "folder here and so a Hub id, got 'meta-math/MetaMathQA'",
    ),
    "no mixture": (
        "train: {name: metamathqa}",
        "task.train.data: must be given for metamathqa: its file, folder or Hub id, got null",
    ),
    "no name": ("train: {data: x}", "task.train.name: must be given"),
    "prompt": (
        "prompt: '{instrction}'",
        "task.prompt: must be chat, or hold {instruction}, and {input} or not, got '{instrction}'",
    ),
    "policy": (
        "on_overlap: ignore",
        "task.on_overlap: must be 'drop' or 'refuse', got 'ignore'",
    ),
}


@pytest.mark.parametrize(("text", "line"), FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_of_a_task_is_one_line(
    refusal: Callable[..., list[str]], text: str, line: str
) -> None:
    assert refusal(f"name: q\ntask:\n  {text}\n") == [f"s.yaml:3: {line}"]
