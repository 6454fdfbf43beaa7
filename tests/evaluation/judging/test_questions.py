"""A judge that cannot rate costs ratings, never the trial; what it needs is checked before."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from droplora_sweep.evaluation.evaluator import evaluate
from droplora_sweep.evaluation.judging.grading import check_judge, judge_digests, rate
from droplora_sweep.evaluation.results import ExampleResult, result_metrics
from droplora_sweep.models.loading import load_base_model, load_tokenizer
from droplora_sweep.records.messages import Decision
from droplora_sweep.spec import EvaluationSpec, ModelSpec, TaskSpec, TrialSpec, fingerprint
from droplora_sweep.tasks.loading import load_task
from droplora_sweep.tasks.task import Example
from droplora_sweep.training.runner import TrialRunner

from .conftest import KEY, Answer, Endpoint, MakeSpec, conversation, write_lines

if TYPE_CHECKING:
    from pathlib import Path

    from droplora_sweep.training.reporting import Report

QUESTIONS = [
    {"question_id": 1, "category": "writing", "turns": ["Name a colour.", "Name another."]},
    {
        "question_id": 2,
        "category": "math",
        "turns": ["What is 2 + 3?", "Twice that?"],
        "reference": ["5", "10"],
    },
]


def by_question(messages: list[dict[str, str]]) -> Answer:
    """9 for a first turn, 6 for a second."""
    is_second = "Assistant A" in messages[-1]["content"]
    return Answer(f"Fine.\n\nRating: [[{6 if is_second else 9}]]")


def test_a_refused_key_gives_missing_ratings_and_its_reason(
    spec: MakeSpec, endpoint: Endpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    judge = spec(cache=str(tmp_path / "cache"))
    rate([conversation(81)], judge)
    endpoint.script = [Answer(status=401, body=b'{"error": {"message": "bad key"}}')]
    ratings = rate([conversation(81), conversation(82)], judge)
    assert [one.rating for one in ratings] == [7, 7, None, None], "what was paid for is kept"
    reason = f"judge at {endpoint.url}/chat/completions refuses requests: HTTP 401: bad key"
    assert ratings[2].reason == ratings[3].reason == reason
    assert f"2 of 4 ratings are missing, the first: {reason}" in caplog.text
    assert KEY not in caplog.text


def test_a_judge_that_is_away_or_without_its_files_gives_missing_ratings(
    spec: MakeSpec, endpoint: Endpoint, tmp_path: Path
) -> None:
    cache = str(tmp_path / "cache")
    away = spec(cache=cache, url="http://127.0.0.1:9/v1", max_attempts=1)
    for judge, reason in {
        "away": (away, "no reply in 1 attempt: "),
        "no key": (spec(cache=cache, key_env="NO_SUCH_KEY"), "environment variable NO_SUCH_KEY: "),
        "no prompts": (spec(cache=cache, prompts="nowhere.jsonl"), "nowhere.jsonl: cannot be read"),
        "no budget": (spec(cache=cache, max_tokens=1), "the token budget is spent: max_tokens 1"),
    }.values():
        ratings = rate([conversation(81)], judge)
        assert [(one.turn, one.rating) for one in ratings] == [(1, None), (2, None)]
        assert all(one.reason.startswith(reason) for one in ratings), ratings[0].reason
    assert endpoint.requests == []


def test_workers_share_the_limits(spec: MakeSpec) -> None:
    judge = spec(max_requests=11, max_tokens=1000)
    shares = [judge.share(rank, 3) for rank in range(3)]
    assert [one.max_requests for one in shares] == [4, 4, 3]
    assert sum(one.max_tokens for one in shares) == 1000


def test_what_a_judge_lacks_is_told_before_anything_starts(spec: MakeSpec, tmp_path: Path) -> None:
    def question(**fields: Any) -> Example:
        turns = ("One?", "Two?")
        return Example("One?", "", "", "", **{"id": "7", "turns": turns, **fields})

    def problems(example: Example, **fields: Any) -> list[str]:
        return [str(fault) for fault in check_judge([example], spec(**fields))]

    assert problems(question()) == []
    assert problems(question(turns=("One?", "Two?", "Three?"))) == [
        "task.benchmarks: must have at most two turns, got 3"
    ]
    assert problems(question(turns=(), category="math")) == []
    assert problems(question(category="math")) == [
        "evaluation.judge: references: must hold question 7, as math is rated against reference "
        "answers"
    ]
    missing = tmp_path / "none.jsonl"
    assert problems(question(), prompts=str(missing)) == [
        f"evaluation.judge: {missing}: cannot be read: No such file or directory"
    ]


def test_the_contents_of_a_judge_s_files_identify_it(spec: MakeSpec, prompts: Path) -> None:
    before = judge_digests(spec())
    assert list(before) == ["judge/prompts"]
    prompts.write_text(prompts.read_text() + "\n")
    assert judge_digests(spec()) != before


def test_a_trial_is_rated_by_a_judge(spec: MakeSpec, endpoint: Endpoint, tmp_path: Path) -> None:
    """The built-in model answers two questions in two turns each while it is trained."""
    endpoint.script = by_question
    (tmp_path / "data").mkdir()
    write_lines(tmp_path / "data" / "validation.jsonl", QUESTIONS)
    judge = spec(cache=str(tmp_path / "cache")).model_dump()
    task = {
        "benchmarks": {"builtin_choice": None, "mt_bench": {"data": str(tmp_path / "data")}},
        "num_train": 8,
        "num_validation": 2,
    }
    trial = TrialSpec.model_validate(
        {
            "adapter": {"rank": 2, "alpha": 4},
            "task": task,
            "training": {"epochs": 1, "global_batch_size": 4, "micro_batch_size": 4},
            "evaluation": {"num_evaluations": 1, "max_new_tokens": 4, "judge": judge},
        }
    )
    reports: list[Report] = []

    def decide(report: Report | None) -> Decision:
        assert report is not None
        reports.append(report)
        return Decision.GO_ON

    TrialRunner(ModelSpec(), threads=1).run(trial, decide)
    metrics = reports[0].evaluation.metrics
    assert metrics["rating/mt_bench"] == 7.5
    assert (metrics["rating/mt_bench/turn1"], metrics["rating/mt_bench/turn2"]) == (9, 6)
    assert metrics["val/mt_bench"] == pytest.approx(0.75)
    assert metrics["val/mean"] == pytest.approx((0.75 + metrics["val/builtin_choice"]) / 2)
    assert metrics["unrated/mt_bench"] == 0
    assert "unparsable/mt_bench" not in metrics

    rated = [one for one in reports[0].results if one.benchmark == "mt_bench"]
    assert [(one.turn, one.rating) for one in rated] == [(1, 9), (2, 6)] * 2
    assert len({one.prompt_digest for one in rated}) == 4
    sent = [request["messages"][-1]["content"] for request in endpoint.requests]
    assert len(sent) == 4
    # The judge sees the model's own answers, and the reference answers of mathematics.
    assert all(any(one.response in content for content in sent) for one in rated)
    assert sum("Reference" in content for content in sent) == 2

    endpoint.script = [Answer("No idea.")]
    (tmp_path / "cache").rename(tmp_path / "away")
    TrialRunner(ModelSpec(), threads=1).run(trial, decide)
    metrics = reports[1].evaluation.metrics
    assert metrics["unrated/mt_bench"] == 4
    assert metrics["val/mt_bench"] != metrics["val/mt_bench"], "NaN: no score"
    assert {one.note for one in reports[1].results if one.benchmark == "mt_bench"} == {
        "no [[rating]] in the judge's reply"
    }


class NotesLengths:
    """Answers every prompt in one token, and notes how long the prompts were."""

    note = None

    def __init__(self) -> None:
        self.lengths: list[int] = []

    def generate(
        self, prompts: Any, *, max_new_tokens: int, stop: Any, sampling: Any = None
    ) -> Any:
        self.lengths += [len(prompt) for prompt in prompts]
        return [[5] * max_new_tokens for _ in prompts]


def test_a_second_turn_is_cut_to_the_context(
    spec: MakeSpec, endpoint: Endpoint, tmp_path: Path
) -> None:
    endpoint.script = by_question
    long = {**QUESTIONS[0], "turns": ["Name a colour.", "Another. " * 30]}
    write_lines(tmp_path / "validation.jsonl", [long])
    task = {
        "benchmarks": {"builtin_choice": None, "mt_bench": {"data": str(tmp_path)}},
        "num_train": 1,
        "num_validation": 1,
    }
    model, context = load_base_model(ModelSpec()), 256
    generator = NotesLengths()
    evaluation = EvaluationSpec(
        max_new_tokens=100, judge=spec(cache=str(tmp_path / "cache")), on_long_prompt="drop"
    )
    results = evaluate(
        model,
        load_tokenizer(ModelSpec()),
        load_task(TaskSpec.model_validate(task)),
        evaluation,
        generator=generator,
    )
    first, second = generator.lengths[-2:]
    assert first < second == context - 100
    assert [one.rating for one in results if one.benchmark == "mt_bench"] == [9, 6]


def test_first_turns_alone_are_rated_without_references(
    spec: MakeSpec, endpoint: Endpoint, tmp_path: Path
) -> None:
    """As the released code of arXiv 2508.17337 has MT-Bench rated, mathematics too."""
    endpoint.script = by_question
    write_lines(tmp_path / "validation.jsonl", QUESTIONS)
    own = {"data": str(tmp_path)}
    benchmarks = {"builtin_choice": None, "mt_bench_first_turn": own}
    task = {"benchmarks": benchmarks, "num_train": 1, "num_validation": 2}
    results = evaluate(
        load_base_model(ModelSpec(), "cpu"),
        load_tokenizer(ModelSpec()),
        load_task(TaskSpec.model_validate(task)),
        EvaluationSpec(max_new_tokens=4, judge=spec(cache=str(tmp_path / "cache"))),
        generator=NotesLengths(),
    )
    rated = [one for one in results if one.benchmark == "mt_bench_first_turn"]
    assert [(one.turn, one.rating) for one in rated] == [(1, 9), (1, 9)]
    sent = [request["messages"][-1]["content"] for request in endpoint.requests]
    assert len(sent) == 2
    assert all(one.startswith("Rate it.\n\n[Question]\n") for one in sent)
    assert not any("Reference" in one or "Another" in one for one in sent)
    assert result_metrics(rated)["rating/mt_bench_first_turn"] == 9


def test_the_second_turn_continues_the_conversation(tmp_path: Path) -> None:
    write_lines(tmp_path / "validation.jsonl", QUESTIONS)
    template = "Q: {instruction}\nA:"
    own = {"data": str(tmp_path), "prompt_suffix": " "}
    spec = TaskSpec.model_validate(
        {
            "benchmarks": {"builtin_choice": None, "mt_bench": own},
            "prompt": template,
            "num_train": 1,
            "num_validation": 2,
        }
    )
    benchmark = load_task(spec).benchmarks[1]
    first = next(one for one in benchmark.validation if one.id == "1")
    assert benchmark.render_prompt(first) == "Q: Name a colour.\nA: "
    assert benchmark.render_turn(first, ("Red.",)) == (
        "Q: Name a colour.\nA: Red.\n\nQ: Name another.\nA: "
    )


def test_missing_ratings_are_in_no_mean() -> None:
    def rated(example_id: str, turn: int, rating: float | None) -> ExampleResult:
        return ExampleResult("chat", example_id, "", None, "", None, 1, turn=turn, rating=rating)

    results = [rated("a", 1, 8), rated("a", 2, None), rated("b", 1, 4), rated("b", 2, 2)]
    assert result_metrics(results) == pytest.approx(
        {
            "val/chat": (0.8 + 0.3) / 2,
            "val/mean": (0.8 + 0.3) / 2,
            "rating/chat": 14 / 3,
            "rating/chat/turn1": 6,
            "rating/chat/turn2": 2,
            "unrated/chat": 1,
        }
    )


def test_a_spec_keeps_what_rates_apart_from_where_it_is(spec: MakeSpec) -> None:
    def identity(**fields: Any) -> str:
        trial = TrialSpec(evaluation=EvaluationSpec(judge=spec(**fields)))
        return fingerprint(trial, {}, {}, num_workers=1)

    same = {identity(), identity(url="https://elsewhere/v1", max_requests=1, key_env=None)}
    assert len(same) == 1
    assert identity(model="another") not in same
    assert json.loads(TrialSpec().model_dump_json())["evaluation"]["judge"] is None


def test_mt_bench_as_published_can_be_rated(spec: MakeSpec, mt_bench: Path) -> None:
    own = {"data": str(mt_bench)}
    benchmarks = {"builtin_choice": None, "mt_bench": own}
    task = TaskSpec.model_validate({"benchmarks": benchmarks, "num_train": 1, "num_validation": 1})
    benchmark = load_task(task).benchmarks[1]
    questions = benchmark.test()
    assert (len(questions), benchmark.validation) == (80, ())
    published = {"prompts": str(mt_bench / "judge_prompts.jsonl")}
    references = str(mt_bench / "reference_answer" / "gpt-4.jsonl")
    assert check_judge(questions, spec(**published, references=references)) == []
