"""The kind of a data set's answers, by the answers alone."""

from __future__ import annotations

import pytest

from droplora_sweep.authoring.answer_kinds import AnswerKind, kind_of_answers

WORDS = [f"word{number} of{number % 7}" for number in range(40)]


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        (["yes", "no", "no", "yes"] * 4, AnswerKind.CHOICE),
        ([str(number % 3) for number in range(30)], AnswerKind.CHOICE),
        ([str(number * 37) for number in range(30)], AnswerKind.NUMBER),
        (["72", "-3.5", "1e3"] + [str(number) for number in range(30)], AnswerKind.NUMBER),
        ([f"\\frac{{{number}}}{{7}}" for number in range(30)], AnswerKind.MATH),
        (WORDS, AnswerKind.EXACT),
        ([" ".join(WORDS[number:]) for number in range(20)], AnswerKind.TEXT),
        ([], AnswerKind.TEXT),
        (["", "  "], AnswerKind.TEXT),
        # One answer alone is no choice.
        (["yes"] * 20, AnswerKind.EXACT),
    ],
)
def test_answers_tell_their_kind(answers: list[str], kind: AnswerKind) -> None:
    assert kind_of_answers(answers).kind is kind


def test_options_are_every_answer_once() -> None:
    answers = [f"class{number % 12 + 1}" for number in range(48)]
    found = kind_of_answers(answers)
    assert found.kind is AnswerKind.CHOICE
    assert set(found.options) == set(answers)
    assert len(found.options) == 12


def test_answers_that_hardly_come_back_are_no_options() -> None:
    assert kind_of_answers(["a b", "c d", "e f", "a b"]).kind is AnswerKind.EXACT
