"""Ratings from a real HTTP endpoint: what is asked, cached, counted and kept in order."""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING, Any

import pytest

from droplora_sweep.errors import InputError
from droplora_sweep.evaluation.judging.budget import Budget
from droplora_sweep.evaluation.judging.endpoint import JudgeError
from droplora_sweep.evaluation.judging.grading import grade, load_references

from .conftest import KEY, Answer, conversation

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Endpoint, MakeSpec


def test_both_turns_are_rated_at_temperature_zero(
    endpoint: Endpoint, spec: MakeSpec, tmp_path: Path
) -> None:
    endpoint.script = [Answer("Fine. Rating: [[6]]"), Answer("Short. Rating: [[8]]")]
    first, second = grade([conversation(81)], spec(), cache=tmp_path / "cache")
    assert (first.question_id, first.turn, first.rating, first.reason) == (81, 1, 6.0, None)
    assert (second.question_id, second.turn, second.rating, second.reason) == (81, 2, 8.0, None)
    assert not first.cached
    assert first.num_tokens == 100
    assert not first.tokens_estimated
    assert endpoint.paths == ["/v1/chat/completions"] * 2
    assert [sorted(request) for request in endpoint.requests] == [
        ["max_tokens", "messages", "model", "temperature"]
    ] * 2
    assert {request["model"] for request in endpoint.requests} == {"judge-1"}
    assert {request["temperature"] for request in endpoint.requests} == {0}
    assert endpoint.headers[0]["Authorization"] == f"Bearer {KEY}"


def test_the_cache_spares_every_request_and_needs_no_key(
    endpoint: Endpoint, spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint.script = [Answer(), Answer("It has no rating.")]
    before = grade([conversation()], spec(), cache=tmp_path / "cache")
    assert len(endpoint.requests) == 2
    monkeypatch.delenv("JUDGE_KEY")
    after = grade([conversation()], spec(max_requests=1), cache=tmp_path / "cache")
    assert len(endpoint.requests) == 2
    assert [rating.cached for rating in after] == [True, True]
    assert [(r.rating, r.reason, r.num_tokens, r.prompt_digest) for r in after] == [
        (r.rating, r.reason, r.num_tokens, r.prompt_digest) for r in before
    ]


@pytest.mark.parametrize("change", ["model", "path", "answer"])
def test_what_changes_the_request_is_sent_anew(
    endpoint: Endpoint, spec: MakeSpec, tmp_path: Path, change: str
) -> None:
    grade([conversation()], spec(), cache=tmp_path)
    fields = {
        "model": {"model": "judge-2"},
        "path": {"url": f"{endpoint.url}/v2"},
        "answer": {},
    }[change]
    answers = ("Another text.", "A text.") if change == "answer" else conversation().answers
    ratings = grade([conversation(answers=answers)], spec(**fields), cache=tmp_path)
    assert [rating.cached for rating in ratings] == [False, False]


def test_a_url_with_its_path_is_the_same_address(
    endpoint: Endpoint, spec: MakeSpec, tmp_path: Path
) -> None:
    grade([conversation()], spec(url=f"{endpoint.url}/"), cache=tmp_path)
    ratings = grade([conversation()], spec(url=f"{endpoint.url}/chat/completions"), cache=tmp_path)
    assert all(rating.cached for rating in ratings)


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b'{"text": "Rating: [[10]]"}',
        b"[" * 100_000,
        json.dumps(
            {
                "digest": "of another request",
                "text": "Rating: [[10]]",
                "finish_reason": "stop",
                "num_tokens": 1,
                "tokens_estimated": False,
            }
        ).encode(),
    ],
    ids=["empty", "cut", "not UTF-8", "list", "fields missing", "deep", "another request's"],
)
def test_a_damaged_cache_entry_is_written_anew(
    endpoint: Endpoint, spec: MakeSpec, tmp_path: Path, damage: bytes
) -> None:
    before = grade([conversation()], spec(), cache=tmp_path / "cache")
    entry = tmp_path / "cache" / f"{before[0].prompt_digest}.json"
    good = entry.read_bytes()
    entry.write_bytes(damage)
    after = grade([conversation()], spec(), cache=tmp_path / "cache")
    assert [rating.cached for rating in after] == [False, True]
    assert after[0].rating == 7.0
    assert entry.read_bytes() == good
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_a_cache_that_cannot_be_is_one_error(
    endpoint: Endpoint, spec: MakeSpec, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JudgeError, match=r"the judge's cache must be writable, got .*/file: "):
        grade([conversation()], spec(), cache=tmp_path / "file")
    assert endpoint.requests == []


def _delayed(messages: list[dict[str, str]]) -> Answer:
    """Earlier questions take longer; the rating is the question's last digit."""
    number = int(messages[1]["content"].partition("Write about ")[2][:2])
    return Answer(f"Rating: [[{number % 10}]]", delay_s=0.02 * (19 - number))


def test_requests_under_way_together_keep_the_order(
    endpoint: Endpoint, spec: MakeSpec, tmp_path: Path
) -> None:
    endpoint.script = _delayed
    conversations = [conversation(number) for number in range(11, 19)]
    ratings = grade(conversations, spec(max_concurrent=4), cache=tmp_path)
    assert [(r.question_id, r.turn, r.rating) for r in ratings] == [
        (number, turn, float(number % 10)) for number in range(11, 19) for turn in (1, 2)
    ]
    assert 2 <= endpoint.most_under_way <= 4


def test_the_same_request_is_sent_once(endpoint: Endpoint, spec: MakeSpec, tmp_path: Path) -> None:
    ratings = grade([conversation(), conversation()], spec(max_concurrent=4), cache=tmp_path)
    assert len(endpoint.requests) == 2
    assert [rating.cached for rating in ratings] == [False, False, True, True]
    assert [rating.rating for rating in ratings] == [7.0] * 4


def test_the_request_budget_ends_in_missing_ratings(
    endpoint: Endpoint, spec: MakeSpec, tmp_path: Path
) -> None:
    conversations = [conversation(number) for number in (81, 82)]
    ratings = grade(conversations, spec(max_requests=3), cache=tmp_path)
    assert len(endpoint.requests) == 3
    assert [rating.rating for rating in ratings] == [7.0, 7.0, 7.0, None]
    assert ratings[3].reason == "the request budget is spent: max_requests 3"
    assert ratings[3].num_tokens == 0
    # What was rated before costs nothing the next time, so the rest fits.
    ratings = grade(conversations, spec(max_requests=3), cache=tmp_path)
    assert [rating.rating for rating in ratings] == [7.0] * 4
    assert len(endpoint.requests) == 4


def test_repeated_attempts_count_as_requests(
    endpoint: Endpoint, spec: MakeSpec, tmp_path: Path
) -> None:
    endpoint.script = [Answer(status=500, body=b"")]
    ratings = grade([conversation()], spec(max_requests=3), cache=tmp_path, sleep=lambda _: None)
    assert len(endpoint.requests) == 3
    assert ratings[0].reason == "the request budget is spent: max_requests 3; before: HTTP 500"
    assert ratings[1].reason == "the request budget is spent: max_requests 3"


@pytest.mark.parametrize("max_concurrent", [1, 8])
def test_the_token_budget_is_not_exceeded(
    endpoint: Endpoint, spec: MakeSpec, tmp_path: Path, max_concurrent: int
) -> None:
    endpoint.script = [Answer(usage={"prompt_tokens": 900, "completion_tokens": 600})]
    conversations = [conversation(number) for number in range(81, 91)]
    budget = Budget(max_requests=100, max_tokens=10_000)
    ratings = grade(
        conversations, spec(max_concurrent=max_concurrent), cache=tmp_path, budget=budget
    )
    given = [rating for rating in ratings if rating.rating is not None]
    # Six cost 9,000, and a seventh may come to more than 1,000.
    assert len(given) == len(endpoint.requests) == budget.num_requests == 6
    assert budget.num_tokens == 9000
    assert [rating.num_tokens for rating in given] == [1500] * 6
    reasons = {rating.reason for rating in ratings if rating.rating is None}
    assert len(reasons) == 1
    assert reasons.pop().startswith("the token budget is spent: max_tokens 10000, 9000 used and ")


def test_a_budget_can_be_shared(endpoint: Endpoint, spec: MakeSpec, tmp_path: Path) -> None:
    budget = Budget(max_requests=3, max_tokens=100_000)
    grade([conversation(81)], spec(), cache=tmp_path, budget=budget)
    ratings = grade([conversation(82)], spec(), cache=tmp_path, budget=budget)
    assert [rating.rating for rating in ratings] == [7.0, None]


@pytest.mark.parametrize("usage", [None, {}, {"total_tokens": -1}, {"total_tokens": True}])
def test_tokens_that_are_not_counted_are_estimated_and_it_is_said(
    endpoint: Endpoint,
    spec: MakeSpec,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    usage: dict[str, Any] | None,
) -> None:
    endpoint.script = [Answer(usage=usage)]
    with caplog.at_level(logging.WARNING, "droplora_sweep"):
        ratings = grade([conversation()], spec(), cache=tmp_path)
    assert all(rating.tokens_estimated for rating in ratings)
    characters = sum(len(message["content"]) for message in endpoint.requests[0]["messages"])
    assert characters / 4 < ratings[0].num_tokens < characters
    assert [record.getMessage() for record in caplog.records] == [
        "the endpoint did not count the tokens of 2 replies; they were estimated"
    ]


def test_a_category_without_its_reference_is_refused_before_anything_is_sent(
    endpoint: Endpoint, spec: MakeSpec, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as caught:
        grade([conversation(81), conversation(111, category="math")], spec(), cache=tmp_path)
    assert str(caught.value) == (
        "references: must hold question 111, as math is rated against reference answers"
    )
    assert endpoint.requests == []


def test_a_conversation_may_bring_its_reference(
    endpoint: Endpoint, spec: MakeSpec, tmp_path: Path
) -> None:
    own = conversation(111, category="math", reference=("It is 4.", "It is 5."))
    assert [rating.rating for rating in grade([own], spec(), cache=tmp_path)] == [7.0, 7.0]
    assert "It is 4." in endpoint.requests[0]["messages"][1]["content"]


def test_an_interrupt_does_not_wait_for_what_was_not_sent(
    endpoint: Endpoint, spec: MakeSpec, tmp_path: Path
) -> None:
    endpoint.script = [Answer(status=500, body=b"")]

    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        grade(
            [conversation(number) for number in range(81, 99)],
            spec(),
            cache=tmp_path,
            sleep=interrupted,
        )
    assert time.monotonic() - start < 5
    assert len(endpoint.requests) <= 2


def test_mt_bench_is_rated_with_the_published_prompts(
    endpoint: Endpoint, spec: MakeSpec, tmp_path: Path, mt_bench: Path
) -> None:
    questions = [
        json.loads(line) for line in (mt_bench / "question.jsonl").read_text().splitlines()
    ]
    references = mt_bench / "reference_answer" / "gpt-4.jsonl"
    ratings = grade(
        [
            conversation(
                question["question_id"],
                category=question["category"],
                turns=(*question["turns"],),
            )
            for question in questions
        ],
        spec(
            prompts=str(mt_bench / "judge_prompts.jsonl"),
            references=str(references),
            max_concurrent=4,
        ),
        cache=tmp_path / "cache",
    )
    assert len(ratings) == len(endpoint.requests) == 160
    assert {rating.rating for rating in ratings} == {7.0}
    sent = [request["messages"][1]["content"] for request in endpoint.requests]
    for first, second in load_references(references).values():
        assert sum(first in content and second in content for content in sent) >= 1
    assert sum("Reference" in content for content in sent) >= 60
