"""Model outputs written by hand, and whether each is right under both protocols.

Marks: ``+`` right, ``-`` wrong, ``0`` nothing could be read, which counts as wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from droplora_sweep.scorers.table import make_scorer

if TYPE_CHECKING:
    from droplora_sweep.scorers.scorer import Answer, Scorer

ANSWERS = ("answer1", "answer2", "answer3", "answer4", "answer5")
OWN = ("class1", "class2", "class10")
F = "def f(x):\n    return x + 1\n"
F_DOC = 'def f(x):\n    """We assert nothing."""\n    return x + 1\n'

OUTPUTS: list[tuple[str, str, str, str, str]] = [
    # scoring, response, gold, paper, strict
    ("choice", "the correct answer is answer2", "answer2", "+", "+"),
    ("choice", "answer2", "answer2", "+", "+"),
    ("choice", " answer2.\n", "answer2", "+", "+"),
    ("choice", "the correct answer is answer1", "answer2", "-", "-"),
    ("choice", "answer2 and not answer1", "answer2", "+", "0"),
    ("choice", "not answer1 but answer2", "answer2", "-", "0"),
    ("choice", "answer12", "answer1", "+", "0"),
    ("own", "class10", "class1", "-", "-"),
    ("own", "class10", "class10", "+", "+"),
    ("own", "class1 or class10", "class1", "+", "0"),
    ("own", "class100", "class10", "0", "0"),
    ("choice", "the correct answer is answer6", "answer2", "0", "0"),
    ("choice", "the correct answer is Answer2", "answer2", "0", "0"),
    ("choice", "The correct answer is answer2", "answer2", "+", "0"),
    ("choice", "answer 2", "answer2", "0", "0"),
    ("choice", "2", "answer2", "0", "0"),
    ("choice", "", "answer2", "0", "0"),
    ("choice", "the correct answer is answer2\n\n### Instruction:", "answer2", "+", "0"),
    ("truth", "the correct answer is true", "true", "+", "+"),
    ("truth", "that is untrue", "true", "+", "0"),
    ("truth", "False", "false", "0", "0"),
    ("truth", "true/false", "true", "+", "0"),
    ("number", "2 + 3 = 5. The answer is: 5", "5.0", "+", "+"),
    ("number", "The answer is: 5.", "5", "+", "+"),
    ("number", "The answer is: 4. No. The answer is: 5.", "5", "+", "+"),
    ("number", "The answer is: 4", "5", "-", "-"),
    ("number", "The answer is: 1,234", "1234", "+", "+"),
    ("number", "The answer is: 1,234,567", "1234567", "-", "+"),
    ("number", "The answer is: 1,234,567", "1234", "+", "-"),
    ("number", "The answer is: 6.5", "6", "+", "-"),
    ("number", "The answer is: 6.5", "6.5", "-", "+"),
    ("number", "The answer is: 0.75", "1", "+", "-"),
    ("number", "The answer is: 9/3", "3", "+", "+"),
    ("number", "The answer is: 1/2", "0", "+", "-"),
    ("number", "The answer is: 1/2", "0.5", "-", "+"),
    ("number", "The answer is: 9/0", "9", "+", "-"),
    ("number", "The answer is: -7", "-7", "+", "+"),
    ("number", "The answer is: $-18 dollars", "-18", "+", "+"),
    ("number", "The answer is: 72 apples", "72", "+", "+"),
    ("number", "The answer is: $1,234.50", "1234.5", "-", "+"),
    ("number", "The answer is: 20%", "20", "+", "+"),
    ("number", "The answer is: 18.0", "18", "+", "+"),
    ("number", "The answer is: none", "5", "0", "0"),
    ("number", "The answer is: ", "5", "0", "0"),
    ("number", "The answer is 5", "5", "0", "+"),
    ("number", r"So it is \boxed{5}.", "5", "0", "+"),
    ("number", "5", "5", "0", "+"),
    ("number", r"So \boxed{7}, less 2. The answer is: 5", "5", "+", "+"),
    ("number", r"So \boxed{5}, and 2. The answer is: 7. It is 5 plus 2.", "5", "-", "-"),
    ("number", "The answer is: $18 each. So 36 for both.", "18", "+", "+"),
    ("number", "The answer is: 5 because 2 + 3 is 5. This takes 2 steps.", "5", "+", "+"),
    ("number", "", "5", "0", "0"),
    ("math", r"The answer is: \frac{1}{2}", r"\frac{1}{2}", "+", "+"),
    ("math", r"The answer is: \frac12", r"\frac{1}{2}", "+", "+"),
    ("math", r"The answer is: \dfrac{1}{2}.", r"\frac{1}{2}", "+", "+"),
    ("math", "The answer is: 1/2", r"\frac{1}{2}", "+", "+"),
    ("math", "The answer is: 0.5", r"\frac{1}{2}", "+", "+"),
    ("math", "The answer is: 0.25", r"\frac{1}{4}", "-", "+"),
    ("math", r"The answer is: \frac{2}{4}", r"\frac{1}{2}", "-", "+"),
    ("math", r"The answer is: -\frac{1}{2}", r"\frac{1}{2}", "-", "-"),
    ("math", r"The answer is: 2\sqrt3", r"2\sqrt{3}", "+", "+"),
    ("math", r"The answer is: 2\sqrt{3}", r"\sqrt{12}", "-", "+"),
    ("math", "The answer is: x^2+1", "1+x^2", "-", "+"),
    ("math", r"The answer is: 5 \text{ cm}", "5", "+", "+"),
    ("math", r"The answer is: 90^\circ", "90", "+", "+"),
    ("math", "The answer is: x=5", "5", "+", "+"),
    ("math", "The answer is: 10,000", "10000", "-", "+"),
    ("math", r"The answer is: \text{east}", r"\text{east}", "+", "+"),
    ("math", r"The answer is: (3, \frac{\pi}{2})", r"\left( 3, \frac{\pi}{2} \right)", "+", "+"),
    ("math", "The answer is: (3, 4)", "(4, 3)", "-", "-"),
    ("math", r"The answer is: $\frac{1}{2}$", r"\frac{1}{2}", "-", "+"),
    ("math", r"Thus \boxed{7}.", "7", "0", "+"),
    ("math", r"The answer is: \boxed{7}", "7", "-", "+"),
    ("math", "The answer is: 7.\nLet us check: 3 + 4 = 7.", "7", "+", "+"),
    ("math", "The answer is: 8. The answer is: 7", "7", "+", "+"),
    ("math", r"The answer is: \frac{1}{2}. This completes it.", r"\frac{1}{2}", "-", "+"),
    ("math", r"The answer is: $\frac{1}{2}$. This completes it.", r"\frac{1}{2}", "-", "+"),
    ("math", r"So \boxed{7} is near. The answer is: $8$.", "8", "-", "+"),
    ("math", r"So \boxed{8} is near. The answer is: $7$.", "8", "-", "-"),
    ("math", r"So \boxed{7} is near. The answer is 8.", "8", "0", "+"),
    ("math", r"The answer is: 3 more than 5. So \boxed{8}.", "8", "-", "+"),
    ("math", "The answer is:\n\\[\n\\frac{1}{2}.\n\\]\nDone. 5", r"\frac{1}{2}", "0", "+"),
    ("math", "The answer is: $\\$18$. Or 5.", "18", "-", "+"),
    ("math", r"The answer is: \text{Mr. East}. Indeed.", r"\text{Mr. East}", "-", "+"),
    ("math", r"The answer is: east. I think \boxed{5} is not.", r"\text{east}", "-", "-"),
    ("math", "\\boxed{5}. The answer is: 5.\nWait. The answer is 6.", "5", "+", "-"),
    ("math", "I do not know", "7", "0", "0"),
    ("code", f"```python\n{F}```", "assert f(1) == 2", "+", "+"),
    ("code", f"Sure!\n```python\n{F}```\nIt adds one.", "assert f(1) == 2", "+", "+"),
    ("code", f"```python\n{F}", "assert f(1) == 2", "+", "+"),
    ("code", F, "assert f(1) == 2", "+", "0"),
    ("code", f"```\n{F}```", "assert f(1) == 2", "-", "0"),
    ("code", f"```py\n{F}```", "assert f(1) == 2", "-", "+"),
    ("code", f"```python\n{F}```\n```python\nf = None\n```", "assert f(1) == 2", "+", "+"),
    ("code", f"```python\nf = 1\n```\n```python\n{F}```", "assert f(1) == 2", "-", "-"),
    ("code", f"```python\n{F}assert f(1) == 3\n```", "assert f(1) == 2", "+", "+"),
    ("code", f"```python\n{F_DOC}```", "assert f(1) == 2", "-", "+"),
    ("code", f"```python\n{F}# Example usage\nf()\n```", "assert f(1) == 2", "+", "+"),
    ("code", f"```python\n{F}if __name__ == '__main__':\n    f()\n```", "pass", "+", "+"),
    ("code", "```python\n```", "assert f(1) == 2", "0", "-"),
    ("exact", " Paris\n", "Paris", "+", "+"),
    ("exact", "Paris.", "Paris", "-", "-"),
    ("exact", " ", "Paris", "0", "0"),
    ("regex", "#### 72", "72", "+", "+"),
    ("regex", "#### 7, #### 72", "72", "-", "-"),
    ("regex", "72", "72", "0", "0"),
]


def scorer(scoring: str) -> Scorer:
    """Return the scorer of a row of ``OUTPUTS``."""
    options = {"choice": ANSWERS, "truth": ("true", "false"), "own": OWN}.get(scoring, ())
    name = "choice" if scoring in ("truth", "own") else scoring
    return make_scorer(name, options, r"#### (\d+)")


def mark(answer: Answer) -> str:
    return "+" if answer.correct else "0" if answer.prediction is None else "-"


@pytest.mark.parametrize("protocol", ["paper", "strict"])
@pytest.mark.parametrize("scoring", sorted({scoring for scoring, *_ in OUTPUTS}))
def test_hand_made_outputs(scoring: str, protocol: Any) -> None:
    outputs = [output for output in OUTPUTS if output[0] == scoring]
    answers = scorer(scoring).read_all(
        [response for _, response, *_ in outputs],
        [gold for _, _, gold, *_ in outputs],
        protocol=protocol,
        allow_unsandboxed_code=True,
    )
    column = 3 if protocol == "paper" else 4
    expected = [(output[1], output[2], output[column]) for output in outputs]
    assert [
        (response, gold, mark(answer))
        for (_, response, gold, *_), answer in zip(outputs, answers, strict=True)
    ] == expected


GOLDS = [
    *(r"\frac{1}{2}", r"-\frac{3}{4}", r"\frac{\sqrt{3}}{2}", r"2\sqrt{3}", r"\sqrt[3]{4}", r"\pi"),
    *(
        r"\frac{\pi}{6}",
        "3.5",
        "0.25",
        "-7",
        "12",
        "1,234",
        "10\\%",
        "45^\\circ",
        "x^2+2x+1",
        "2^{10}",
    ),
    *("(3,4)", r"\left(\frac{1}{2}, -1\right)", "[0,1)", r"(-\infty, 2]", "1, 2, 3"),
    *(r"\begin{pmatrix} 4 & 2 \\ -1 & 1 \end{pmatrix}", r"\begin{pmatrix} 1 \\ -2 \end{pmatrix}"),
    *(
        r"3\text{ cm}",
        r"\$18.90",
        "5 + 2i",
        "y = 2x + 1",
        r"\log_2 3",
        r"\sin 30^\circ",
        "n!",
        "x > 3",
    ),
    *(r"\text{even}", r"\text{Tuesday}", r"10\sqrt{2} + 5", r"\frac{a+b}{c}", r"e^{-2}"),
]
"""Of every kind that the MATH benchmark has, written as there."""


@pytest.mark.parametrize("form", ["{}. This completes it.", "${}$. This completes the proof."])
def test_the_final_answer_line_is_read_and_not_what_stands_around_it(form: str) -> None:
    """As released data ends its responses, behind a box with another answer."""
    around = r"First \boxed{971} is found, and then 972 of them. The answer is: "
    others = [*GOLDS[1:], "973"]
    strict: Any = "strict"
    for wanted, golds in ((True, GOLDS), (False, others)):
        responses = [around + form.replace("{}", answer) for answer in GOLDS]
        answers = scorer("math").read_all(responses, golds, protocol=strict)
        read = zip(responses, golds, answers, strict=True)
        assert [one for one in read if one[2].correct is not wanted] == []


def test_the_outputs_show_where_the_protocols_differ() -> None:
    assert len(OUTPUTS) >= 60
    for scoring in ("choice", "number", "math", "code"):
        assert any(paper != strict for kind, _, _, paper, strict in OUTPUTS if kind == scoring)


def test_a_pattern_without_a_group_is_its_match() -> None:
    only = make_scorer("regex", pattern=r"\d+")
    assert [one.prediction for one in only.read_all(["a 72 b"], ["72"])] == ["72"]
