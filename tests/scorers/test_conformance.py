"""Rules that every scorer keeps; one brought by a package has to keep them too."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from droplora_sweep.plugins import PluginError
from droplora_sweep.scorers.scorer import Answer
from droplora_sweep.scorers.table import SCORERS, make_scorer, scorer_names

OPTIONS = ("answer1", "answer2")
GOLDS = {
    **dict.fromkeys(SCORERS, "Paris"),
    "choice": "answer2",
    "number": "72",
    "math": r"\frac{1}{2}",
    "code": "assert f(1) == 2",
    "rouge2": "the city of Paris",
}
BAD_GOLDS = {
    "choice": "answer3",
    "number": "1e3",
    "code": "assert (",
    "rouge1": "\N{GREEK CAPITAL LETTER OMEGA}",
    "rouge2": "Paris",
    "rougeL": "?",
}

every_scorer = pytest.mark.parametrize("name", SCORERS)
every_protocol = pytest.mark.parametrize("protocol", ["paper", "strict"])


def scorer(name: str) -> Any:
    return make_scorer(name, OPTIONS, r"#### (\d+)")


@every_scorer
def test_it_is_a_value_that_reaches_the_workers(name: str) -> None:
    one = scorer(name)
    assert one == pickle.loads(pickle.dumps(one)) == scorer(name)
    assert one != make_scorer(name, ("other", "options"))
    with pytest.raises(FrozenInstanceError):
        one.options = ()


@every_scorer
def test_it_accepts_its_own_answers_and_says_why_it_refuses_others(name: str) -> None:
    one = scorer(name)
    assert one.gold_problem(GOLDS[name]) is None
    assert one.may_validate(GOLDS[name])
    if name in BAD_GOLDS:
        assert one.gold_problem(BAD_GOLDS[name]).startswith("must be ")


@every_scorer
@every_protocol
def test_a_response_that_states_the_answer_is_right_and_one_without_is_not(
    name: str, protocol: Any
) -> None:
    one = scorer(name)
    stated = one.stated(GOLDS[name], protocol)
    if stated is not None:
        [right] = one.read_all([stated], [GOLDS[name]], protocol)
        assert right.correct
    if not one.is_rated:
        [wrong] = one.read_all([""], [GOLDS[name]], protocol)
        assert wrong == Answer(None, correct=False)
        assert one.read_all([], [], protocol) == []


@every_scorer
@every_protocol
def test_it_may_end_a_response_only_where_it_reads_one(name: str, protocol: Any) -> None:
    one = scorer(name)
    rule = one.stop_rule(protocol)
    assert rule is None or not rule.is_complete("")
    assert set(one.closed_answers) <= set(OPTIONS)
    assert one.sample_question().strip()


def test_a_scoring_that_nothing_brings() -> None:
    assert scorer_names() == (*SCORERS, "command")
    with pytest.raises(PluginError) as refused:
        make_scorer("meteor")
    assert str(refused.value) == (
        f"must be one of {', '.join(SCORERS)}, command, got meteor: no package that is installed "
        "here brings it"
    )
