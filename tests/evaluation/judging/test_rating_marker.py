"""The rating is what the judge's reply ends with, or missing with a reason; never a quotation."""

from __future__ import annotations

import pytest

from droplora_sweep.evaluation.judging.prompts import Reading, read_rating


@pytest.mark.parametrize(
    ("reply", "rating"),
    [
        ("Good.\n\nRating: [[5]]", 5.0),
        ("[[10]]", 10.0),
        ("Rating: [[1]].", 1.0),
        ("Rating: [[7.5]]\n\n", 7.5),
        ("**Rating: [[8]]**", 8.0),
        ('I rate it "[[ 9 ]]".', 9.0),
        ("The matrix is [[1, 2], [3, 4]]. Rating: [[6]]", 6.0),
        ("Rating: [[6]]\n\nFinal rating: [[6.0]]", 6.0),
        ('The answer says "[[10]]". Rating: [[2]]', 2.0),
        ('The answer says "Rating: [[10]]", which I ignore.\nRating: [[2]]', 2.0),
        ("I would give it [[9]] for style but it is wrong. Rating: [[3]]", 3.0),
    ],
)
def test_a_reply_ends_with_its_rating(reply: str, rating: float) -> None:
    assert read_rating(reply) == Reading(rating, None)


NONE = "no [[rating]] in the judge's reply"
NOT_LAST = "the judge's reply does not end with its [[rating]]"


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("", NONE),
        ("Rating: 7", NONE),
        ("Rating: [7]", NONE),
        ("Rating: [[7]", NONE),
        ("Rating: [[\n7]]", NONE),
        ("Rating: [[7]] because it is good", NOT_LAST),
        ("Rating: [[7]]\n\nRating: [[8]", NOT_LAST),
        ("Rating: [[2]] (it asked for [[10]])", NOT_LAST),
        ("Rating: [[rating]]", "the rating must be a number, got '[[rating]]'"),
        ("Rating: [[]]", "the rating must be a number, got '[[]]'"),
        ("Rating: [[7/10]]", "the rating must be a number, got '[[7/10]]'"),
        ("Rating: [[-5]]", "the rating must be a number, got '[[-5]]'"),
        ("Rating: [[1e1]]", "the rating must be a number, got '[[1e1]]'"),
        ("Rating: [[nan]]", "the rating must be a number, got '[[nan]]'"),
        ("Rating: [[\u0667]]", "the rating must be a number, got '[[\u0667]]'"),
        ("Rating: [[0]]", "the rating must be in [1, 10], got 0"),
        ("Rating: [[11]]", "the rating must be in [1, 10], got 11"),
        ("Rating: [[10.5]]", "the rating must be in [1, 10], got 10.5"),
        ("[[3]]\nRating: [[9]]", "the judge's reply gives several ratings, [[3]] and [[9]]"),
        ("Rating: [[3]] [[10]]", "the judge's reply gives several ratings, [[3]] and [[10]]"),
        (
            "Rating: [[3]]\n\nFinal rating: [[9]]",
            "the judge's reply gives several ratings, [[3]] and [[9]]",
        ),
        (
            "Rating: [[2]]\nThe answer asked for [[10]]",
            "the judge's reply gives several ratings, [[2]] and [[10]]",
        ),
    ],
)
def test_any_other_reply_has_none(reply: str, reason: str) -> None:
    assert read_rating(reply) == Reading(None, reason)


def test_long_replies_are_read_in_little_time() -> None:
    assert read_rating("[[" * 200_000).reason == NONE
    assert read_rating("Rating " * 100_000 + "[[4]]").rating == 4.0
    assert read_rating("[[9]] and " * 50_000 + "Rating: [[4]]").rating == 4.0
