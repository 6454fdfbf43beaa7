"""Splits share no example, and do not depend on the order of a file."""

from __future__ import annotations

import random

from droplora_sweep.tasks.splits import (
    Mixture,
    Source,
    Splits,
    cut_splits,
    limit_test,
    normalised_text,
    stable_order,
)
from droplora_sweep.tasks.task import Example


def example(text: str, answer: str = "true") -> Example:
    return Example(text, "", f"the correct answer is {answer}", answer)


def cut(
    train: list[Example],
    validation: list[Example] | None,
    test: list[Example],
    **limits: int | None,
) -> Splits:
    """One benchmark's splits."""
    return cut_splits([Source("one", train, validation, test)], **limits).splits["one"]


EXAMPLES = [example(f"question {index}") for index in range(50)]


def texts(examples: tuple[Example, ...]) -> set[str]:
    return {normalised_text(one) for one in examples}


def test_validation_is_cut_from_train_and_the_rest_is_trained_on() -> None:
    splits = cut(EXAMPLES, None, [], num_train=None, num_validation=10)
    assert len(splits.validation) == 10
    assert len(splits.train) == 40
    assert set(splits.train) | set(splits.validation) == set(EXAMPLES)
    assert splits.num_left_out == 0


def test_a_shuffled_file_gives_the_same_splits_in_the_same_order() -> None:
    shuffled = random.Random(0).sample(EXAMPLES, len(EXAMPLES))
    assert cut(shuffled, None, [], num_train=20, num_validation=10) == cut(
        EXAMPLES, None, [], num_train=20, num_validation=10
    )
    assert limit_test(shuffled, 5) == limit_test(EXAMPLES, 5)


def test_a_share_of_the_training_examples_is_their_beginning_and_changes_nothing_else() -> None:
    whole = cut(EXAMPLES, None, [], num_train=None, num_validation=10, num_confirmation=8)
    kept = []
    for share, number in ((0.02, 1), (0.1, 3), (0.5, 16), (0.99, 32)):
        part = cut_splits(
            [Source("one", EXAMPLES, None, [])],
            num_train=None,
            train_share=share,
            num_validation=10,
            num_confirmation=8,
        ).splits["one"]
        assert part.train == whole.train[:number]
        assert (part.validation, part.confirmation) == (whole.validation, whole.confirmation)
        kept.append(len(part.train))
    assert kept == sorted(kept)


def test_a_share_is_of_what_the_limit_leaves() -> None:
    of_limit = {"num_train": 20, "train_share": 0.1, "num_validation": 10}
    few, many = EXAMPLES[:22], EXAMPLES
    sizes = [
        len(cut_splits([Source("one", some, None, [])], **of_limit).splits["one"].train)
        for some in (few, many)
    ]
    assert sizes == [1, 2], "a tenth of 12, which are all there are, and of 20"


def test_a_mixture_keeps_a_share_too() -> None:
    mixture = Mixture("mixed", EXAMPLES, lambda _name, _one: True)
    found = cut_splits([Source("one")], mixture, num_train=None, train_share=0.1, num_validation=10)
    assert found.mixture is not None
    assert len(found.mixture.train) == 4


def test_adding_an_example_does_not_shuffle_the_others() -> None:
    before = stable_order(EXAMPLES, "validation")
    after = stable_order([example("one more"), *EXAMPLES], "validation")
    assert [one for one in after if one != example("one more")] == before


def test_a_smaller_limit_keeps_the_first() -> None:
    few = cut(EXAMPLES, None, [], num_train=7, num_validation=10)
    many = cut(EXAMPLES, None, [], num_train=None, num_validation=10)
    assert few.train == many.train[:7]


def test_what_validation_holds_is_not_trained_on_whatever_case_and_spaces() -> None:
    train = [example("Is it  SO?"), example("other")]
    splits = cut(train, [example("is it so?")], [], num_train=None, num_validation=1)
    assert splits.train == (example("other"),)
    assert splits.num_left_out == 1


def test_what_test_holds_is_neither_validated_nor_trained_on() -> None:
    held_out = EXAMPLES[:5]
    splits = cut(EXAMPLES, None, held_out, num_train=None, num_validation=10)
    assert not texts(splits.train) & texts(tuple(held_out))
    assert not texts(splits.validation) & texts(tuple(held_out))
    assert splits.num_left_out == 5
    from_file = cut([], EXAMPLES, held_out, num_train=None, num_validation=50)
    assert len(from_file.validation) == 45
    assert from_file.num_left_out == 5


def test_a_repeated_question_is_validated_once_and_not_trained_on() -> None:
    repeated = [*EXAMPLES, *EXAMPLES]
    splits = cut(repeated, None, [], num_train=None, num_validation=10)
    assert len(texts(splits.validation)) == len(splits.validation) == 10
    assert not texts(splits.validation) & texts(splits.train)
    assert splits.num_left_out == 10


def test_what_any_benchmark_tests_is_held_back_everywhere_and_counted() -> None:
    first = Source("first", EXAMPLES[:20], None, EXAMPLES[40:])
    spaced = example("Question  41")
    second = Source("second", [*EXAMPLES[20:41], spaced], None, [])

    done = cut_splits([first, second], num_train=None, num_validation=2)

    assert [(one.split, one.other) for one in done.overlaps] == [("second/train", "first/test")]
    assert (done.overlaps[0].num_exact, done.overlaps[0].num_normalised) == (1, 1)
    assert texts(done.splits["second"].train) <= texts(tuple(EXAMPLES[20:40]))
    assert done.splits["second"].num_left_out == 2


def test_a_mixture_validates_the_benchmarks_that_have_no_training_file() -> None:
    mixture = Mixture("mix", EXAMPLES, lambda name, _: name != "code")
    own = Source("own", [example(f"own {index}") for index in range(4)], None, EXAMPLES[:3])
    sources = [own, Source("none", test=[]), Source("code", test=[])]

    done = cut_splits(sources, mixture, num_train=30, num_validation=4)

    assert done.mixture is not None
    assert len(done.mixture.train) == 30
    assert set(done.splits["own"].validation) == set(own.train or ())
    assert set(done.splits["none"].validation) <= set(EXAMPLES[3:])
    assert done.splits["code"].validation == ()
    assert all(splits.train == () for splits in done.splits.values())
    assert not texts(done.mixture.train) & texts(done.splits["none"].validation)
    assert [(one.split, one.other, one.num_exact) for one in done.overlaps] == [
        ("mix/train", "own/test", 3)
    ]
    assert done.mixture.num_left_out == 3 + 4


def test_confirmation_is_cut_beside_validation_and_changes_it_not() -> None:
    before = cut(EXAMPLES, None, EXAMPLES[:4], num_train=None, num_validation=10)
    splits = cut(
        EXAMPLES, None, EXAMPLES[:4], num_train=None, num_validation=10, num_confirmation=7
    )
    assert splits.validation == before.validation
    assert len(splits.confirmation) == 7
    held_back = texts(splits.confirmation)
    assert not held_back & texts((*splits.validation, *EXAMPLES[:4], *splits.train))
    assert held_back <= texts(before.train)
    assert splits.num_left_out == before.num_left_out == 4


def test_a_validation_file_too_small_for_both_is_helped_out_by_the_training_file() -> None:
    splits = cut(
        EXAMPLES[:30], EXAMPLES[30:], [], num_train=None, num_validation=18, num_confirmation=6
    )
    from_validation = texts(splits.confirmation) & texts(tuple(EXAMPLES[30:]))
    assert (len(splits.confirmation), len(from_validation)) == (6, 2)
    assert len(splits.train) == 26
    assert splits.num_left_out == 0


def test_no_benchmark_trains_on_what_confirms_another() -> None:
    sources = [Source("first", EXAMPLES), Source("second", EXAMPLES)]
    done = cut_splits(sources, num_train=None, num_validation=3, num_confirmation=3)
    first, second = done.splits["first"], done.splits["second"]
    held_back = texts((*first.confirmation, *second.confirmation))
    assert len(held_back) == 6
    assert not held_back & texts((*first.train, *second.train))
    assert not held_back & texts((*first.validation, *second.validation))


def test_a_mixture_confirms_what_it_validates() -> None:
    mixture = Mixture("mix", EXAMPLES, lambda *_: True)
    done = cut_splits(
        [Source("one", test=[])], mixture, num_train=None, num_validation=4, num_confirmation=5
    )
    assert done.mixture is not None
    assert len(done.splits["one"].confirmation) == 5
    assert not texts(done.mixture.train) & texts(done.splits["one"].confirmation)
