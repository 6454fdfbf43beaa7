"""The paper's extraction rules, its defects included."""

from __future__ import annotations

import pytest

from droplora_sweep.scorers.choice import RELEASED_OPTIONS, extract_choice
from droplora_sweep.scorers.math_answers import normal_form, same_answer
from droplora_sweep.scorers.numeric import extract_math, extract_number
from droplora_sweep.scorers.program import extract_code
from droplora_sweep.tasks.registry import BENCHMARKS

ANSWERS = ("answer1", "answer2", "answer3", "answer4", "answer5")
MAIN = 'if __name__ == "__main__":\n    main()\n'


@pytest.mark.parametrize(
    ("response", "prediction"),
    [
        ("the correct answer is answer3", "answer3"),
        ("answer2 is right, answer1 is not", "answer2"),
        ("answer12", "answer1"),
        ("Answer3", None),
        ("answer 3", None),
        ("answer6", None),
        ("3", None),
        ("", None),
    ],
)
def test_choice(response: str, prediction: str | None) -> None:
    assert extract_choice(response, ANSWERS) == prediction


@pytest.mark.parametrize(
    ("response", "prediction"),
    [
        ("the correct answer is true", "true"),
        ("it is untrue, so false", "true"),
        ("False", None),
    ],
)
def test_true_or_false(response: str, prediction: str | None) -> None:
    assert extract_choice(response, ("true", "false")) == prediction


CLASSES = tuple(f"class{number}" for number in range(1, 13))


@pytest.mark.parametrize(
    ("response", "options", "prediction"),
    [
        *((f"the correct answer is {one}", CLASSES, one) for one in CLASSES),
        *((f"{one}, not class1", CLASSES, one) for one in CLASSES),
        ("class13", CLASSES, None),
        ("subclass1", CLASSES, None),
        ("class1_b or class2", CLASSES, "class2"),
        ("Answer: B", ("A", "B"), "B"),
        ("Answer", ("A", "B"), None),
        ("(A)", ("A", "B"), "A"),
        ("A.", ("A", "B"), "A"),
        ("not sure, no", ("yes", "no"), "no"),
        ("know nothing", ("yes", "no"), None),
        ("it is C++", ("C", "C++"), "C++"),
        ("C and not C++", ("C++", "C"), "C"),
        ("very good", ("good", "very good"), "very good"),
        ("1.5", ("1", "5", "1.5"), "1.5"),
        ("10,000", ("10", "000"), None),
        ("1, 2", ("2", "1"), "1"),
        ("the answer is 1.", ("1", "2"), "1"),
        ("\u00e9t\u00e9", ("t", "\u00e9"), None),
        ("\u7b54\u6848\u662f\u5bf9\u7684", ("\u5bf9", "\u9519"), "\u5bf9"),
        ("\u7b54\u6848\u662fA\u5417", ("A", "B"), "A"),
    ],
)
def test_options_of_one_s_own_are_read_where_they_stand_by_themselves(
    response: str, options: tuple[str, ...], prediction: str | None
) -> None:
    assert extract_choice(response, options) == prediction
    assert extract_choice(response, options[::-1]) == prediction


def test_every_published_benchmark_has_the_released_options() -> None:
    choices = [one for one in BENCHMARKS.values() if one.scoring == "choice"]
    assert {one.options for one in choices} == RELEASED_OPTIONS


@pytest.mark.parametrize(
    ("response", "number"),
    [
        ("2 + 3 = 5. The answer is: 5", 5),
        ("The answer is: 4. No. The answer is: 5.", 5),
        ("The answer is: $-18 dollars", -18),
        ("The answer is: +7", 7),
        ("The answer is: 3.0", 3),
        ("The answer is: 6.6", 7),
        ("The answer is: .75", 1),
        ("The answer is: 1,234", 1234),
        ("The answer is: 1,234,567", 1234),
        ("The answer is: 0,5", 5),
        ("The answer is: 9/3", 3),
        ("The answer is: 9/0", 9),
        ("The answer is: 9/00", None),
        ("The answer is: -9/000", None),
        ("The answer is: 9/03", 3),
        ("The answer is: 10000000000000000001/1", 10000000000000000000),
        ("The answer is: 1" + "0" * 400 + "/1" + "0" * 399, 10),
        ("The answer is: 1" + "0" * 5000 + "/3", None),
        ("The answer is: /5", None),
        ("The answer is: -/5", None),
        ("The answer is: 1" + "0" * 400, None),
        ("The answer is: none", None),
        ("The answer is: ", None),
        ("The answer is:5", None),
        ("the answer is: 5", None),
        ("5", None),
        ("", None),
    ],
)
def test_number(response: str, number: int | None) -> None:
    assert extract_number(response) == number


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (r"The answer is: \frac{1}{2}", r"\frac{1}{2}"),
        ("The answer is: x = 5.", "x = 5"),
        ("The answer is: 5.\nIndeed.", "5"),
        ("The answer is: 5. Indeed. 5", "5. Indeed. 5"),
        ("The answer is: 4. The answer is: 5", "5"),
        ("The answer is: 0.5", "0.5"),
        ("The answer is: ", None),
        ("The answer is 5", None),
        (r"\boxed{5}", None),
    ],
)
def test_math(response: str, answer: str | None) -> None:
    assert extract_math(response) == answer


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (r"\frac12", r"\frac{1}{2}"),
        (r"\frac1{72}", r"\frac{1}{72}"),
        (r"\tfrac{1}{2}", r"\dfrac{1}{2}"),
        ("1/2", r"\frac{1}{2}"),
        ("0.5", r"\frac{1}{2}"),
        (".25", "0.25"),
        (r"\sqrt3", r"\sqrt{3}"),
        (r"5 \text{ cm}", "5"),
        (r"90^\circ", r"90^{\circ}"),
        (r"50\%", "50"),
        (r"\$18", "18"),
        ("k = 5", "5"),
        (r"\left( 3, 4 \right)", "(3,4)"),
        (r"10,\!000", "10,000"),
        (r"\pi/2", r"\pi/2"),
    ],
)
def test_the_same_latex(one: str, other: str) -> None:
    assert same_answer(one, other)
    assert same_answer(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("0.25", r"\frac{1}{4}"),
        ("10,000", "10000"),
        (r"\frac{2}{4}", r"\frac{1}{2}"),
        (r"\pi / 2", r"\pi/2"),
        (r"\text{east}", "east"),
        ("length = 5", "5"),
        ("(3,4)", "(4,3)"),
        (r"\sqrt", r"\sqrt{}"),
    ],
)
def test_what_only_means_the_same_is_other_latex(one: str, other: str) -> None:
    assert not same_answer(one, other)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (r"\text{ a} \text{ b}", "must have at most one unit"),
        (r"2\sqrt", "root must have an argument"),
        (r"2\frac", "fraction must have arguments"),
        ("x/2", "invalid literal for int"),
    ],
)
def test_latex_without_a_normal_form(answer: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        normal_form(answer)


@pytest.mark.parametrize(
    ("response", "code"),
    [
        ("```python\nx = 1\n```", "x = 1"),
        ("```python\r\nx = 1\r\n```", "x = 1"),
        ("Sure:\n```python\nx = 1\n```\nor\n```python\nx = 2\n```", "x = 1"),
        ("```python\nx = 1\n```python\ny = 2\n```", "x = 1\n\ny = 2"),
        ("```python\nx = 1", "\nx = 1"),
        ("```python\nx = 1```", "\nx = 1```"),
        ("```python\n    x = 1", "\n    x = 1"),
        ("```python\n    x = 1\nassert x", "x = 1"),
        ("```python\n    x = 1\n```", "x = 1"),
        ("```python\nx = 1\n" + MAIN + "```", "x = 1"),
        ("```python\nx = 1\n\n# Example usage:\nprint(x)\n```", "x = 1"),
        ("```python\nx = 1\nassert x == 1\ny = 2\n```", "x = 1"),
        ("```python\n```", None),
        ("```\nx = 1\n```", "```\nx = 1\n```"),
        ("x = 1\nassert x", "x = 1"),
        ("x = 1", "x = 1"),
        ("    return 1\n", "    return 1\n"),
        ("\n    return 1\r\n", "\n    return 1\n"),
        ("    x = 1\n    assert x\n", "x = 1"),
        ("    x = 1\n# Example usage", "x = 1"),
        ("", None),
        (" \n", None),
    ],
)
def test_code(response: str, code: str | None) -> None:
    assert extract_code(response) == code
