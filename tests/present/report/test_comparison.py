"""Sentences of `compare`, and differences that it refuses to give."""

from dataclasses import replace

import pytest

from droplora_sweep.present.contents.comparison import (
    Contender,
    compare,
    compared_trials,
    comparison_table,
    different_settings,
    settings_lines,
)
from droplora_sweep.records.trial import Stage

from .conftest import NUM_EXAMPLES, Sweep, confirm

DIGESTS = {"arc/validation": "ab" * 32, "arc/confirmation": "cd" * 32}


def contender(sweep, label, confirmed=(), digests=DIGESTS):
    facts = sweep.facts(confirmed)
    record = replace(facts.record, data_digests=digests)
    return Contender(label, replace(facts, record=record), sweep.scores.get)


def one_sweep(score, **sections):
    sweep = Sweep(benchmarks=("arc",), **sections)
    sweep.trial(0.0, score)
    return sweep


def side(first, other):
    [row] = [row for row in compare([first, other]) if row.name == "arc"]
    return row.sides[0]


def test_best_trials_on_the_same_examples_are_paired():
    found = side(contender(one_sweep(0.5), "a"), contender(one_sweep(0.6), "b"))
    assert found.contrast.difference.value == pytest.approx(0.1)
    assert found.contrast.p_value < 1
    assert found.how == f"best trials paired on {NUM_EXAMPLES} examples, one seed each"
    assert found.compared == "60.0 % and 50.0 % on the validation split"


def test_other_examples_are_said_to_be_others():
    digests = {"arc/validation": "ef" * 32}
    other = contender(one_sweep(0.6), "b", digests=digests)
    found = side(contender(one_sweep(0.5), "a"), other)
    assert found.how == "NOT PAIRED: the examples differ, and a difference may be theirs"
    assert found.contrast.difference.value == pytest.approx(0.1)
    assert found.contrast.p_value is None


def test_unknown_digests_are_no_evidence_of_the_same_examples():
    one, other = (contender(one_sweep(0.5), name, digests={}) for name in "ab")
    assert side(one, other).how.startswith("NOT PAIRED: the examples differ")


def test_scores_that_were_read_otherwise_are_not_subtracted():
    strict = one_sweep(0.6, evaluation={"protocol": "strict"})
    found = side(contender(one_sweep(0.5), "a"), contender(strict, "b"))
    assert found.contrast is None
    assert found.how == "not compared: evaluation.protocol is paper and strict"


def test_a_benchmark_that_one_sweep_lacks_is_not_compared():
    sweep = Sweep(benchmarks=("arc", "gsm"))
    sweep.trial(0.0, 0.5)
    rows = {
        row.name: row for row in compare([contender(sweep, "a"), contender(one_sweep(0.5), "b")])
    }
    assert list(rows) == ["mean", "arc", "gsm"]
    assert rows["gsm"].answers[1] is None
    assert rows["gsm"].sides[0].how == "not compared: b does not have it"
    assert rows["arc"].sides[0].contrast is not None


def test_means_over_other_benchmarks_are_not_compared():
    sweeps = [Sweep(benchmarks=names) for names in (("arc", "gsm"), ("arc", "piqa"))]
    for sweep in sweeps:
        sweep.trial(0.0, 0.5)
    [row] = [row for row in compare([contender(one, "x") for one in sweeps]) if row.name == "mean"]
    assert row.sides[0].how == "not compared: the means are over other benchmarks"


def test_a_sweep_without_a_complete_trial_is_shown_and_not_compared():
    empty = Sweep(benchmarks=("arc",))
    found = side(contender(one_sweep(0.5), "a"), contender(empty, "b"))
    assert found.how == "not compared: no complete trial with a score on both sides"


def confirmed_contender(label, truth, num_seeds=3):
    """A sweep whose confirmation has arms p = 0 and p = 0.2, the latter better and recommended."""
    sweep = Sweep(benchmarks=("arc",))
    first = [sweep.trial(rate, 0.5) for rate in (0.0, 0.2)]
    decision = confirm({0.0: 0.4, 0.2: truth})
    arm = first[1].trial_id
    assert decision.recommended.name == arm
    for seed in range(43, 43 + num_seeds):
        run = sweep.trial(0.2, truth)
        name = f"c{run.trial_id[1:]}"
        sweep.scores[name] = sweep.scores.pop(run.trial_id)
        sweep.trials[-1] = replace(
            run, trial_id=name, stage=Stage.CONFIRM, arm=arm, spec={**run.spec, "seed": seed}
        )
    return contender(sweep, label, [decision])


def test_confirmed_arms_are_paired_over_seeds():
    one, other = confirmed_contender("a", 0.6), confirmed_contender("b", 0.8)
    found = side(one, other)
    assert found.how == f"paired on 3 seeds and {NUM_EXAMPLES} examples"
    assert found.compared == "on the confirmation split"
    [row] = compare([one, other])
    assert {answer.split for answer in row.answers} == {"confirmation"}
    assert found.contrast.difference.value == pytest.approx(0.2)
    assert [name[0] for name in compared_trials(one)] == ["c", "c", "c"]
    assert comparison_table(["a", "b"], compare([one, other])).notes == ()


def test_without_three_common_seeds_the_searches_are_compared():
    one, other = confirmed_contender("a", 0.6), confirmed_contender("b", 0.8, num_seeds=2)
    rows = compare([one, other])
    assert (
        rows[0]
        .sides[0]
        .how.startswith(
            "the confirmed runs share no three seeds and examples; best trials paired on "
        )
    )
    assert comparison_table(["a", "b"], rows).notes == (
        "Best trials were picked on the examples that score them, and each has one seed: a "
        "difference covers neither the picking nor the luck of a seed.",
    )


def test_the_search_trials_that_were_compared_are_named():
    sweep = Sweep()
    sweep.trial(0.0, (0.9, 0.2))
    sweep.trial(0.2, (0.3, 0.9))
    assert compared_trials(contender(sweep, "a")) == ("t0001-00000001", "t0000-00000000")


def test_settings_that_differ_are_listed():
    labels = ["a", "b"]
    one, other = (
        contender(one_sweep(0.5, adapter={"rank": rank}), name)
        for rank, name in zip((8, 16), labels, strict=True)
    )
    found = different_settings([one, other])
    assert found == [("adapter.rank", ("8", "16"))]
    assert settings_lines(labels, found)[1] == "  adapter.rank: 8 | 16"
    assert settings_lines(labels, []) == ["Their settings are the same but for what was searched."]
    many = [(f"field{index}", ("1", "2")) for index in range(14)]
    assert settings_lines(labels, many)[-1] == "  and 2 more settings"
