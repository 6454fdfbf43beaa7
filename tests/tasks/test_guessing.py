"""The most frequent answer and a blind guess: from the data alone."""

from __future__ import annotations

import pytest

from droplora_sweep.scorers.table import make_scorer
from droplora_sweep.spec import TaskSpec
from droplora_sweep.tasks.answers import chance, most_frequent_answer
from droplora_sweep.tasks.loading import load_task
from droplora_sweep.tasks.task import Benchmark, Example


def benchmark(scoring="choice", options=("answer1", "answer2", "answer3", "answer4", "answer5")):
    return Benchmark(
        name="b",
        scorer=make_scorer(scoring, options),
        prompt_suffix="",
        max_new_tokens=None,
        train=(),
        validation=(),
        num_test=0,
        num_left_out=0,
        read_test=lambda: (),
    )


def example(answer, listed=None):
    text = "Which?" if listed is None else f"Which?\n\nAnswer format: {listed}"
    return Example(text, "", f"the correct answer is {answer}", answer)


def test_the_most_frequent_answer_comes_with_its_share():
    examples = [example(f"answer{index}") for index in (1, 2, 2, 3)]
    assert most_frequent_answer(benchmark(), examples) == ("answer2", 0.5)


def test_of_equally_frequent_answers_it_is_the_same_in_any_order():
    examples = [example("answer2"), example("answer1")]
    for some in (examples, examples[::-1]):
        assert most_frequent_answer(benchmark(), some) == ("answer1", 0.5)


def test_numbers_programs_and_ratings_have_none():
    for scoring in ("number", "math", "code", "judge"):
        examples = [example("7")] * 50
        assert most_frequent_answer(benchmark(scoring), examples) is None
        assert chance(benchmark(scoring), examples) is None


def test_a_few_texts_that_recur_are_a_closed_set_and_many_are_not():
    few = [example(("yes", "no")[index % 2]) for index in range(20)]
    many = [example(f"text {index}") for index in range(20)]
    assert most_frequent_answer(benchmark("exact"), few) == ("no", 0.5)
    assert most_frequent_answer(benchmark("exact"), many) is None
    # Nothing says which answers are possible.
    assert chance(benchmark("exact"), few) is None


def test_chance_counts_the_options_that_each_example_lists():
    four, five = "answer1/answer2/answer3/answer4", "answer1/answer2/answer3/answer4/answer5"
    examples = [example("answer1", four), example("answer5", five)]
    assert chance(benchmark(), examples) == pytest.approx((1 / 4 + 1 / 5) / 2)
    assert chance(benchmark(), [example("answer1")]) == pytest.approx(1 / 5)


@pytest.mark.parametrize("listed", ["answer1/other", "answer2/answer3", "answer1", "a/b."])
def test_a_list_that_is_not_of_the_options_is_not_counted(listed):
    assert chance(benchmark(), [example("answer1", listed)]) == pytest.approx(1 / 5)


def test_no_examples_have_neither():
    assert most_frequent_answer(benchmark(), []) is None
    assert chance(benchmark(), []) is None


@pytest.mark.parametrize(
    ("name", "expected", "frequent"),
    [("arc_easy", 0.25, "answer3"), ("boolq", 0.5, "true")],
)
def test_published_data_has_the_known_chance(commonsense, name, expected, frequent):
    spec = TaskSpec(benchmarks=(name,), data=str(commonsense))
    [found] = load_task(spec).benchmarks
    examples = found.test()
    assert chance(found, examples) == pytest.approx(expected, abs=0.002)
    answer, share = most_frequent_answer(found, examples)
    assert answer == frequent
    assert share == sum(one.answer == frequent for one in examples) / len(examples)
