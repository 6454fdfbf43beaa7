"""The paper's extraction rules, its defects included."""

from __future__ import annotations

import pytest

from droplora_sweep.evaluation import extract_choice, extract_code, extract_number

ANSWERS = ("answer1", "answer2", "answer3", "answer4", "answer5")


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
        ("The answer is: /5", None),
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
    ("response", "code"),
    [
        ("```python\nx = 1\n```", "x = 1"),
        ("Sure:\n```python\nx = 1\n```\nor\n```python\nx = 2\n```", "x = 1"),
        ("```python\nx = 1", "x = 1"),
        ("```python\n    x = 1\n```", "    x = 1"),
        ("```python\nx = 1\nif __name__ == '__main__':\n    main()\n```", "x = 1"),
        ("```python\nx = 1\n\n# Example usage:\nprint(x)\n```", "x = 1"),
        ("```python\nx = 1\nassert x == 1\ny = 2\n```", "x = 1"),
        ("```python\n```", ""),
        ("```\nx = 1\n```", None),
        ("x = 1", None),
        ("", None),
    ],
)
def test_code(response: str, code: str | None) -> None:
    assert extract_code(response) == code
