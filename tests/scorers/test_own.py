"""Scorers of a user's own: functions and commands, and one line for everything wrong with them."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from droplora_sweep.plugins import PluginError
from droplora_sweep.scorers.own import CommandScorer
from droplora_sweep.scorers.scorer import Response, ScoringError, read_responses
from droplora_sweep.scorers.table import make_scorer

if TYPE_CHECKING:
    from droplora_sweep.scorers.scorer import Scorer

RESPONSES = [
    Response("blue sky", "blue", id="one", prompt="Colour?\n"),
    Response("red", "green", id="two", prompt="Other?\n"),
]
FUNCTIONS = '''
"""Scorers for a test."""
from droplora_sweep.scorers import Answer, Scorer

def single(response, reference):
    return 0.5 * (reference in response)

def all_at_once(references, responses, ids, prompts):
    assert (ids, prompts) == (["one", "two"], ["Colour?\\n", "Other?\\n"])
    return [float(one in other) for one, other in zip(references, responses)]

def with_default(response, reference, weight=0.25):
    return weight

def nan(response): return float("nan")
def truth(response): return True
def seven(response): return 7
def text(response): return "0.5"
def nothing(response): return None
def raises(response): raise ValueError("no such\\nword")
def short(responses): return [1.0]
def long(responses): return [1.0] * 3
def leaves(response): raise SystemExit(3)
def odd(answer): return 1.0
def mixed(response, references): return 1.0
def bare(): return 1.0
LIMIT = 3

class Words(Scorer):
    def read(self, response, gold, protocol):
        return Answer(response, correct=False, credit=0.25)

class Rough(Scorer):
    def read(self, response, gold, protocol):
        return 0.25
'''


@pytest.fixture
def place(tmp_path: Path) -> str:
    (tmp_path / "mine.py").write_text(FUNCTIONS)
    return f"{tmp_path}/mine.py"


def credits(scorer: Scorer) -> list[float | None]:
    return [one.credit for one in read_responses(scorer, RESPONSES, "paper")]


def test_a_function_is_given_what_its_parameters_name(place: str) -> None:
    assert credits(make_scorer(f"{place}:single")) == [0.5, 0.0]
    assert credits(make_scorer(f"{place}:all_at_once")) == [1.0, 0.0]
    assert credits(make_scorer(f"{place}:with_default")) == [0.25, 0.25]
    assert credits(make_scorer(f"{place}:Words")) == [0.25, 0.25]
    assert read_responses(make_scorer(f"{place}:all_at_once"), RESPONSES, "paper")[
        0
    ].prediction == ("blue sky")


def test_costs_become_scores(place: str) -> None:
    assert credits(make_scorer(f"{place}:single", direction="lower")) == [0.5, 1.0]
    command = (sys.executable, "-c", "for _ in range(2): print(0.25)")
    assert credits(make_scorer("command", command=command, direction="lower")) == [0.75, 0.75]


def test_a_module_of_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    del place
    (tmp_path / "mine.py").rename(tmp_path / "own_words.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [one for one in sys.path if one not in ("", str(tmp_path))])
    before = list(sys.path)
    scorer = make_scorer("own_words:single")
    assert credits(scorer) == [0.5, 0.0]
    assert sys.path == before
    first = scorer.code_digest()
    assert first is not None
    with (tmp_path / "own_words.py").open("a") as file:
        file.write("# Another rule.\n")
    assert scorer.code_digest() not in (None, first)
    sys.modules.pop("own_words")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("nan", "must give a number in [0, 1], got nan for example one and response 'blue sky'"),
        ("truth", "must give a number in [0, 1], got True for example one"),
        ("seven", "must give a number in [0, 1], got 7 for example one"),
        ("text", "must give a number in [0, 1], got '0.5' for example one"),
        ("nothing", "must give a number in [0, 1], got None for example one"),
        ("raises", "the scorer raised ValueError: no such word"),
        ("short", "must give one score per response, 2, got 1"),
        ("long", "must give one score per response, 2, got 3"),
        ("leaves", "the scorer raised SystemExit: 3"),
        ("Rough", "must give an Answer, got float"),
    ],
)
def test_what_a_function_must_not_give(place: str, name: str, problem: str) -> None:
    with pytest.raises(ScoringError) as refused:
        read_responses(make_scorer(f"{place}:{name}"), RESPONSES, "paper")
    assert problem in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("odd", "must take parameters named id, prompt, response, reference, or all of them in"),
        ("mixed", "must take parameters named id, prompt, response, reference, or all of them in"),
        ("bare", "must take parameters named id, prompt, response, reference, or all of them in"),
        ("LIMIT", "must be a function, got "),
        ("singles", "got singles; did you mean single?"),
    ],
)
def test_what_is_no_scorer(place: str, name: str, problem: str) -> None:
    with pytest.raises(PluginError) as refused:
        make_scorer(f"{place}:{name}")
    assert problem in str(refused.value)


def test_code_that_cannot_be_imported(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import no_such_thing\n")
    (tmp_path / "wrong.py").write_text("def f(:\n")
    for name, problem in (
        ("broken.py:f", "ModuleNotFoundError: No module named 'no_such_thing'"),
        ("wrong.py:f", "SyntaxError: "),
        ("missing.py:f", "FileNotFoundError: "),
    ):
        with pytest.raises(PluginError) as refused:
            make_scorer(f"{tmp_path}/{name}")
        assert f"must be code that can be imported, got {tmp_path}/{name}: {problem}" in str(
            refused.value
        )
        assert "\n" not in str(refused.value)
    with pytest.raises(PluginError, match="No module named 'no_such_module'"):
        make_scorer("no_such_module:f")


ECHO = """
import json, sys
for line in sys.stdin:
    given = json.loads(line)
    assert list(given) == ["id", "prompt", "response", "reference"], given
    print(float(given["reference"] in given["response"]))
"""


def python(code: str, timeout_s: float = 60) -> CommandScorer:
    return CommandScorer(command=(sys.executable, "-c", code), timeout_s=timeout_s)


def test_a_command_reads_a_line_of_json_for_each_response() -> None:
    assert credits(python(ECHO)) == [1.0, 0.0]
    assert read_responses(python("raise SystemExit(1)"), [], "paper") == []


def test_no_shell_reads_a_command(tmp_path: Path) -> None:
    marked = tmp_path / "marked"
    words = ("; touch", f"$(touch {marked})", "*", f"`touch {marked}`", f"> {marked}")
    code = f"import sys; assert sys.argv[1:] == {list(words)!r}; print(1); print(0)"
    scorer = CommandScorer(command=(sys.executable, "-c", code, *words))
    assert credits(scorer) == [1.0, 0.0]
    assert not marked.exists()


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("import sys; sys.exit('word list\\nis missing')", "got exit code 1 from "),
        ("import sys; sys.exit('word list\\nis missing')", ": is missing"),
        ("raise SystemExit(3)", "it wrote nothing to stderr"),
        ("import os; os.kill(os.getpid(), 9)", "got signal 9 from "),
        ("print('score: 1'); print(1)", "must print a number in line 1, got 'score: 1'"),
        ("print(1)", "must print one score per response, 2, got 1 lines"),
        ("print(1); print(1); print(1)", "must print one score per response, 2, got 3 lines"),
        ("", "must print one score per response, 2, got 0 lines"),
        ("print('nan'); print(1)", "must give a number in [0, 1], got nan for example one"),
        ("print(True); print(1)", "must print a number in line 1, got 'True'"),
        ("print(1); print(7)", "must give a number in [0, 1], got 7.0 for example two"),
        ("print(1); print(); print(1)", "must print one score per response, 2, got 3 lines"),
        (
            "import sys; sys.stdout.buffer.write(bytes([255, 10, 49, 10]))",
            "must print a number in line 1, got",
        ),
    ],
)
def test_what_a_command_must_not_do(code: str, problem: str) -> None:
    with pytest.raises(ScoringError) as refused:
        read_responses(python(code), RESPONSES, "paper")
    assert problem in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "score.txt").write_text("no program")
    for program in ("no-such-program", str(tmp_path / "score.txt"), str(tmp_path)):
        with pytest.raises(ScoringError) as refused:
            read_responses(CommandScorer(command=(program,)), RESPONSES, "paper")
        assert f"must be a program that can be started, got {program!r}: " in str(refused.value)


def test_a_command_that_hangs_ends_with_all_that_it_started(tmp_path: Path) -> None:
    noted = tmp_path / "child"
    code = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)'])\n"
        f"open({str(noted)!r}, 'w').write(str(child.pid))\n"
        "print(1, flush=True)\n"
        "time.sleep(99)\n"
    )
    scorer = python(code, timeout_s=15)
    with pytest.raises(ScoringError) as refused:
        read_responses(scorer, RESPONSES, "paper")
    assert "must end within 15 s (`command_timeout_s`), got" in str(refused.value)
    child = int(noted.read_text())
    for _ in range(100):
        if not _is_running(child):
            break
        time.sleep(0.1)
    assert not _is_running(child)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_a_command_that_reads_nothing_of_much_input() -> None:
    many = [Response("x" * 1000, "x", id=str(index)) for index in range(500)]
    answers = read_responses(python("for _ in range(500): print(0.5)"), many, "paper")
    assert {one.credit for one in answers} == {0.5}


def test_the_digest_is_of_the_files_that_a_command_names(tmp_path: Path) -> None:
    script = tmp_path / "score.py"
    script.write_text(ECHO)
    scorer: Any = CommandScorer(command=(sys.executable, str(script)))
    assert credits(scorer) == [1.0, 0.0]
    first = scorer.code_digest()
    script.write_text(ECHO + "\n")
    assert scorer.code_digest() != first
    assert CommandScorer(command=("score-program", "--strict")).code_digest() is None
    assert json.dumps(first)
