"""The generated benchmarks: their splits are sound, and their gold answers are right."""

from __future__ import annotations

import collections
import itertools
import re
import subprocess
import sys

import pytest

from droplora_sweep.tasks.builtin.generation import (
    BUILTIN_BENCHMARKS,
    MAX_EXAMPLES,
    SPLITS,
    example_identity,
    generate,
)
from droplora_sweep.tasks.builtin.questions import FACTS, QUESTIONS, RELATIONS

every_benchmark = pytest.mark.parametrize("name", sorted(BUILTIN_BENCHMARKS))


@every_benchmark
def test_splits_share_no_example_whatever_their_seeds(name: str) -> None:
    identities = {
        split: {
            example_identity(example)
            for seed in (0, 1)
            for example in generate(name, split, 400, seed)
        }
        for split in SPLITS
    }
    for one, other in itertools.combinations(SPLITS, 2):
        assert not identities[one] & identities[other]


@every_benchmark
@pytest.mark.parametrize("split", SPLITS)
def test_a_split_offers_its_maximum_without_duplicates(name: str, split: str) -> None:
    num_examples = MAX_EXAMPLES
    examples = generate(name, split, num_examples, seed=3)
    assert len({example_identity(example) for example in examples}) == num_examples


@every_benchmark
def test_fewer_examples_are_a_prefix_of_more(name: str) -> None:
    assert generate(name, "train", 300, seed=5)[:40] == generate(name, "train", 40, seed=5)


@every_benchmark
def test_the_seed_gives_the_examples(name: str) -> None:
    assert generate(name, "train", 20, seed=0) != generate(name, "train", 20, seed=1)


def test_another_process_generates_the_same_examples() -> None:
    print_digests = (
        "from droplora_sweep.tasks.builtin.generation import BUILTIN_BENCHMARKS, generate\n"
        "for name in sorted(BUILTIN_BENCHMARKS):\n"
        "    print(*(example.digest for example in generate(name, 'test', 50, seed=7)))\n"
    )
    printed = subprocess.run(
        [sys.executable, "-c", print_digests],
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONHASHSEED": "123", "PYTHONPATH": ":".join(sys.path)},
    ).stdout.split()
    here = [
        example.digest
        for name in sorted(BUILTIN_BENCHMARKS)
        for example in generate(name, "test", 50, seed=7)
    ]
    assert printed == here


def test_generating_imports_neither_torch_nor_transformers() -> None:
    check = (
        "import sys, droplora_sweep.tasks.builtin\n"
        "sys.exit(any(heavy in sys.modules for heavy in ('torch', 'transformers')))"
    )
    environment = {"PYTHONPATH": ":".join(sys.path)}
    assert subprocess.run([sys.executable, "-c", check], env=environment).returncode == 0


def test_asking_for_too_many_examples_says_how_many_there_are() -> None:
    with pytest.raises(
        ValueError,
        match=r"^builtin_choice has 2500 examples in each split, but got num_examples=2501\.$",
    ):
        generate("builtin_choice", "test", 2501, seed=0)


def test_an_unknown_benchmark_or_split_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"`name` must be one of \['builtin_choice'.*'nothing'"):
        generate("nothing", "test", 1, seed=0)
    with pytest.raises(ValueError, match=r"`split` must be one of \('train'.*'dev'"):
        generate("builtin_choice", "dev", 1, seed=0)


def test_choice_answers_are_listed_options_and_balanced() -> None:
    examples = generate("builtin_choice", "train", 1000, seed=0)
    for example in examples:
        options = re.findall(r"(Answer\d): (\w+)", example.instruction)
        assert [name for name, _ in options] == ["Answer1", "Answer2", "Answer3", "Answer4"]
        assert len({value for _, value in options}) == 4
        assert example.output == f"the correct answer is {example.answer}"
        assert example.instruction.endswith("\n\nAnswer format: answer1/answer2/answer3/answer4")
    counts = collections.Counter(example.answer for example in examples)
    assert set(counts) == {"answer1", "answer2", "answer3", "answer4"}
    assert all(200 < count < 300 for count in counts.values())


def test_math_outputs_are_true_sums_that_end_in_the_answer() -> None:
    for example in generate("builtin_math", "train", 1000, seed=0):
        *sums, final = example.output.split(". ")
        assert final == f"The answer is: {example.answer}"
        for written in sums:
            left, right = written.split(" = ")
            assert eval(left) == int(right)
        assert sums[-1].endswith(f"= {example.answer}")


def test_code_outputs_pass_their_own_tests() -> None:
    for example in generate("builtin_code", "train", 500, seed=0):
        block = re.fullmatch(r"```python\n(.*)\n```", example.output, re.DOTALL)
        assert block is not None
        assert all(line.startswith("assert ") for line in example.answer.splitlines())
        exec(block[1] + "\n" + example.answer, {})


def truth_of(instruction: str) -> tuple[str, str]:
    """The relation that a question is about, and the right value."""
    [(creature, relation)] = [
        (creature, relation)
        for creature in FACTS
        for relation, wordings in QUESTIONS.items()
        for wording in wordings
        if f" {wording.format(creature)}?" in instruction
    ]
    return relation, FACTS[creature][relation]


def test_one_in_four_noisy_training_answers_is_another_value_of_the_same_relation() -> None:
    num_wrong = 0
    for example in generate("builtin_noisy", "train", 1000, seed=0):
        relation, truth = truth_of(example.instruction)
        assert example.output == example.answer
        assert example.answer in RELATIONS[relation]
        num_wrong += example.answer != truth
    # Four standard deviations of a binomial count.
    assert abs(num_wrong - 250) <= 4 * (1000 * 0.25 * 0.75) ** 0.5


@pytest.mark.parametrize("split", ["validation", "test"])
def test_no_noisy_answer_that_is_scored_is_wrong(split: str) -> None:
    for example in generate("builtin_noisy", split, 500, seed=0):
        assert example.answer == truth_of(example.instruction)[1]
