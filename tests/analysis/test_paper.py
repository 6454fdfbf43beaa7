import os
import re
from pathlib import Path

import pytest

from droplora_sweep.analysis.paper import paper_results

DATA = Path(os.environ.get("DROPLORA_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
TEXT = DATA.parent / "paper" / "droplora_paper.txt"


def own(source, model):
    return {
        one.method: one.scores
        for one in paper_results()
        if (one.source, one.model, one.own_run) == (source, model, True)
    }


def test_each_table_has_every_method_on_both_models():
    for source in ("Table 1", "Table 2", "Table 3", "Table 4"):
        for model in ("LLaMA2-7B", "LLaMA3-8B"):
            assert list(own(source, model)) == ["lora", "dora", "pissa", "milora", "droplora"]


def test_the_numbers_one_looks_for_are_there():
    assert own("Table 1", "LLaMA2-7B")["droplora"]["mean"] == 84.91
    assert own("Table 1", "LLaMA3-8B")["lora"]["mean"] == 86.78
    assert own("Table 2", "LLaMA2-7B")["lora"] == {"gsm8k": 65.66, "math": 16.02, "mean": 40.84}
    assert own("Table 3", "LLaMA3-8B")["droplora"]["mbpp_evalplus"] == 70.37
    assert own("Table 4", "LLaMA2-7B")["droplora"]["mt_bench_first_turn"] == 5.54
    table_5 = [
        (one.method, one.rank, one.pruning_rate, one.scores["mean"])
        for one in paper_results()
        if one.source == "Table 5"
    ]
    assert table_5 == [
        ("lora", 16, 0.0, 84.5),
        ("lora", 32, 0.0, 84.4),
        ("droplora", 32, 0.5, 84.9),
    ]


@pytest.mark.parametrize(("name", "size"), [("humaneval", 164), ("mbpp_evalplus", 378)])
def test_scores_of_code_are_whole_numbers_of_the_set_s_problems(name, size):
    """So the paper's MBPP is EvalPlus' set: most of its ten scores are none of 500 problems."""
    scores = [
        one.scores[name] for one in paper_results() if one.source == "Table 3" and one.own_run
    ]
    assert len(scores) == 10
    for number in scores:
        solved = round(number * size / 100)
        assert number == pytest.approx(100 * solved / size, abs=0.0101)
    if name == "mbpp_evalplus":
        assert sum(abs(one * 5 - round(one * 5)) < 0.051 for one in scores) < 3


def test_printed_averages_are_those_of_the_printed_scores():
    """So no digit was lost; some averages are off by a few hundredths in print."""
    for one in paper_results():
        parts = [score for name, score in one.scores.items() if name != "mean"]
        if one.own_run and "mean" in one.scores and parts:
            assert one.scores["mean"] == pytest.approx(sum(parts) / len(parts), abs=0.06)


@pytest.mark.skipif(not TEXT.is_file(), reason="the paper's text is not on this machine")
def test_every_row_is_a_line_of_the_paper():
    lines = [
        [float(cell) for cell in re.findall(r"(?<=\| )\d+(?:\.\d+)?(?= \|)", line)]
        for line in TEXT.read_text(encoding="utf-8").replace("881.27", "81.27").splitlines()
    ]
    for one in paper_results():
        if one.source != "Table 5":
            assert list(one.scores.values()) in lines
