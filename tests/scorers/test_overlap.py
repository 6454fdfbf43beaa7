"""Metrics of free text, each against its own library or its publisher's examples."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import pytest
import sacrebleu
from rouge_score import rouge_scorer
from sklearn.metrics import f1_score

from droplora_sweep.evaluation.corpus import Read, mean_interval, measure
from droplora_sweep.scorers.corpus_metrics import CORPUS_METRICS
from droplora_sweep.scorers.overlap import normalized, references, token_f1
from droplora_sweep.scorers.table import make_scorer

RESPONSES = [
    "the cat sat on the mat",
    "Paris is the capital of France.",
    "42 apples, and a pear",
    "completely unrelated words here",
    "It rains in the north today",
    " Yes! ",
]
REFERENCES = [
    "the cat is sitting on a mat",
    "The capital of France is Paris.",
    "42 apples and one pear",
    "nothing of that kind was said",
    "It will rain in the north of the country today",
    "yes",
]


def score(name: str, response: str, gold: str) -> float:
    return make_scorer(name).read(response, gold, "paper").credit or 0.0


def published_f1(prediction: str, ground_truth: str) -> float:
    """SQuAD's ``f1_score`` of evaluate-v1.1.py, with the texts already normal."""
    said, right = prediction.split(), ground_truth.split()
    num_same = sum((Counter(said) & Counter(right)).values())
    if num_same == 0:
        return 0.0
    precision, recall = num_same / len(said), num_same / len(right)
    return 2 * precision * recall / (precision + recall)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        # Of the publisher's description: case, punctuation, articles, white space.
        ("The Denver Broncos", "denver broncos"),
        ("Levi's Stadium in Santa Clara, California.", "levis stadium in santa clara california"),
        ("  an   apple a day ", "apple day"),
        ("theatre", "theatre"),
        ("a-b", "ab"),
    ],
)
def test_squad_compares_normal_texts(text: str, normal: str) -> None:
    assert normalized(text) == normal
    assert score("exact_match", text, normal) == 1
    assert score("f1", text, normal) == 1


def test_f1_is_squads() -> None:
    for response, gold in zip(RESPONSES, REFERENCES, strict=True):
        expected = published_f1(normalized(response), normalized(gold))
        assert score("f1", response, gold) == pytest.approx(expected)
    # Of evaluate-v2.0.py: texts of articles and marks alone.
    assert (token_f1("the", "a!"), token_f1("the", "cat"), token_f1("cat", "?")) == (1, 0, 0)


def test_the_best_of_several_references_counts() -> None:
    gold = json.dumps(
        ["Santa Clara, California", "Levi's Stadium", "Levi's Stadium in Santa Clara"]
    )
    assert len(references(gold)) == 3
    assert score("exact_match", "levis stadium", gold) == 1
    assert score("f1", "the stadium", gold) == pytest.approx(2 / 3)
    best = max(score("rougeL", "the stadium", one) for one in references(gold))
    assert score("rougeL", "the stadium", gold) == pytest.approx(best)
    together = sacrebleu.sentence_bleu("the stadium", list(references(gold))).score / 100
    assert score("bleu", "the stadium", gold) == pytest.approx(together)
    # What is no list of texts is one text.
    for text in ("[1, 2]", '["a", ""]', "[", "[]", '["a"'):
        assert references(text) == (text,)


def test_sentence_scores_are_the_libraries() -> None:
    kinds = ("rouge1", "rouge2", "rougeL")
    rouge = rouge_scorer.RougeScorer(list(kinds))
    for response, gold in zip(RESPONSES, REFERENCES, strict=True):
        said = response.strip()
        bleu = sacrebleu.sentence_bleu(said, [gold]).score / 100
        chrf = sacrebleu.sentence_chrf(said, [gold]).score / 100
        assert score("bleu", response, gold) == pytest.approx(bleu)
        assert score("chrf", response, gold) == pytest.approx(chrf)
        for kind in kinds:
            assert score(kind, response, gold) == pytest.approx(
                rouge.score(gold, said)[kind].fmeasure
            )


def reads(predictions: list[Any] | None = None) -> list[Read]:
    return [
        Read(response, prediction, gold)
        for response, prediction, gold in zip(
            RESPONSES, predictions or RESPONSES, REFERENCES, strict=True
        )
    ]


def test_corpus_scores_are_the_librarys_and_so_are_their_intervals() -> None:
    said = [response.strip() for response in RESPONSES]
    for name, metric in (("bleu", sacrebleu.BLEU()), ("chrf", sacrebleu.CHRF())):
        found = measure(name, reads())
        expected = metric.corpus_score(said, [REFERENCES], n_bootstrap=1000)
        assert found.value == pytest.approx(expected.score, abs=1e-4)
        # The library says half the width of its own draws' interval in the text alone.
        half = float(str(expected).split("±")[1].split(")")[0])
        assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.2)
        assert 0 <= found.low <= found.value <= found.high <= CORPUS_METRICS[name].most


def test_references_of_different_numbers_are_scored_together() -> None:
    golds = [json.dumps([REFERENCES[0], "a cat sat on a mat"]), REFERENCES[1]]
    some = [Read(RESPONSES[index], None, golds[index]) for index in range(2)]
    streams = [[REFERENCES[0], REFERENCES[1]], ["a cat sat on a mat", None]]
    expected = sacrebleu.corpus_bleu(RESPONSES[:2], streams).score
    assert measure("bleu", some).value == pytest.approx(expected)


def test_macro_f1_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    golds = [str(one) for one in rng.choice(["a", "b", "c"], 300, p=[0.7, 0.2, 0.1])]
    said = [one if rng.random() < 0.6 else str(rng.choice(["a", "b", "d"])) for one in golds]
    some = [Read(one, one, gold) for one, gold in zip(said, golds, strict=True)]
    found = measure("macro_f1", some)
    expected = f1_score(golds, said, average="macro", labels=["a", "b", "c"])
    assert found.value == pytest.approx(expected)
    drawn = rng.integers(0, 300, (400, 300))
    samples = [
        f1_score(
            [golds[index] for index in row],
            [said[index] for index in row],
            average="macro",
            labels=["a", "b", "c"],
        )
        for row in drawn[:100]
    ]
    low, high = np.percentile(samples, (2.5, 97.5))
    assert found.low == pytest.approx(low, abs=0.03)
    assert found.high == pytest.approx(high, abs=0.03)
    # A response without an answer is no label.
    assert measure("macro_f1", [Read("", None, "a"), Read("a", "a", "a")]).value == (
        pytest.approx(2 / 3)
    )


def test_the_interval_of_a_mean_has_its_level() -> None:
    """Of 300 samples of 60 fractional scores, about 95 % of the intervals hold the mean."""
    rng = np.random.default_rng(1)
    # Zero, one, and all between: the mean of the mixture is 0.3 + 0.4 * 2 / 5.
    held = 0
    for _ in range(300):
        kinds = rng.choice(3, 60, p=[0.3, 0.3, 0.4])
        values = np.where(kinds == 2, rng.beta(2, 3, 60), kinds == 1)
        found = mean_interval([float(one) for one in values])
        assert found.value == pytest.approx(float(values.mean()))
        held += found.low <= 0.3 + 0.4 * 2 / 5 <= found.high
    assert 0.90 <= held / 300 <= 0.98


def test_an_empty_response_scores_nothing_and_no_reference_is_cut() -> None:
    for name in ("f1", "exact_match", "bleu", "chrf", "rouge1", "rouge2", "rougeL"):
        scorer = make_scorer(name)
        assert scorer.read(" \n", "word", "paper").prediction is None
        [answer] = scorer.read_all([REFERENCES[0]], [REFERENCES[0]])
        assert (answer.correct, answer.credit) == (True, 1)
        assert 0 <= score(name, RESPONSES[3], REFERENCES[3]) < 1
