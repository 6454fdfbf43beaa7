"""The page: whole, escaped, self-contained, and honest about what is missing."""

import html
import json
import math
import re
from dataclasses import fields, replace
from html.parser import HTMLParser

import pytest

from droplora_sweep.analysis.estimate import Estimate
from droplora_sweep.analysis.evidence import Arm
from droplora_sweep.analysis.on_test import WinnerOnTest
from droplora_sweep.errors import SweepError
from droplora_sweep.present.contents.rates import RatePanel
from droplora_sweep.present.contents.results import methods_table, pareto_table
from droplora_sweep.present.contents.table import Cell, Table, row
from droplora_sweep.present.contents.trials import trials_tables
from droplora_sweep.present.report.data import report_data
from droplora_sweep.present.report.page import make_report, write_report
from droplora_sweep.records.trial import SweepOutcome

from .conftest import Sweep, confirm

HOSTILE = "<script>alert(1)</script>\"'&$x^2$"


class Page(HTMLParser):
    """Tags and text of a page."""

    def __init__(self, html):
        super().__init__()
        self.tags = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def named(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="session")
def report(searched_facts):
    decisions = [confirm({0.0: 0.5, 0.2: 0.7}, subject) for subject in ("mean", "arc", "gsm")]
    return make_report(replace(searched_facts, confirmed=tuple(decisions)))


def test_the_answer_comes_first(report):
    text = " ".join(Page(report.html).text.split())
    places = [
        text.index(words)
        for words in (
            "Use a pruning rate of 0.2",
            "What to use, and how sure that is",
            "Score against pruning rate",
            "Confirmed settings",
            "Every trial",
        )
    ]
    assert places == sorted(places)


def test_what_decisions_are_worth_and_their_adapters_stand_below_their_words(report, sweep):
    text = " ".join(Page(report.html).text.split())
    assert text.index("The decisions in words") < text.index("Confirmed: the same seeds and")
    assert "called better or worse than p = 0 by luck in at most 5 % of such sweeps" in text
    sweep.trial(0.0, 0.5)
    sweep.trial(0.2, 0.7)
    text = " ".join(Page(make_report(sweep.facts()).html).text.split())
    assert "Exploratory: search-stage trials with one seed each" in text
    adapters = text[text.index("Adapters (export --task, register): ") :]
    assert "arc t0001-00000001 (p = 0.2)" in adapters


def test_controls_are_rows_beside_the_rates(sweep):
    sweep.trial(0.0)
    sweep.trial(0.2)
    facts = replace(sweep.facts(), confirmed=(confirm({0.0: 0.5, 0.2: 0.7}, "mean", control=0.6),))
    text = " ".join(Page(make_report(facts).html).text.split())
    assert "against its own p = 0" in text
    assert "p = 0, settings of 0.2 t0001-00000001@p=0 6" in text


def test_test_scores_come_with_the_answer_and_are_said_to_choose_nothing(sweep):
    sweep.outcome = None
    arm = Arm("t0001-00000001", 0.2)
    difference = Estimate(0.03, 0.01, 0.05)
    tested = WinnerOnTest("mean", arm, 0.63, 0.6, difference, 5, 1200)
    facts = replace(sweep.facts(), on_test=(tested,))
    text = " ".join(Page(make_report(facts).html).text.split())
    assert "Test split, scored once, after the decision" in text
    assert "mean p = 0.2 t0001-00000001 63.0 % 60.0 % +3.0 points [+1.0, +5.0]" in text
    assert "5 seeds, 1,200 examples" in text
    assert "Nothing was chosen by these numbers" in text


def test_every_figure_is_in_the_page_and_beside_it(report):
    names = {
        "score_against_rate",
        "score_against_rank",
        "parallel_coordinates",
        "parameter_importance",
        "learning_curves",
        "rung_survival",
        "trials_over_time",
    }
    page = Page(report.html)
    assert {figure["id"] for figure in page.named("figure")} == names
    assert set(report.images) == {f"{name}.png" for name in names}
    assert all(image.startswith(b"\x89PNG") for image in report.images.values())
    pictures = page.named("svg")
    assert len(pictures) == 3 + 3 + 1 + 1 + 2 + 1 + 1
    assert all(picture["role"] == "img" and picture["aria-label"] for picture in pictures)


def test_its_data_hold_every_table_and_figure_of_the_page(report):
    page, data = Page(report.html), json.loads(report.data)
    captions = re.findall("<caption>(.*?)</caption>", report.html)
    titles = [html.unescape(caption).replace("\N{NO-BREAK SPACE}", " ") for caption in captions]
    assert sorted(table["title"] for table in data["tables"]) == sorted(titles)
    assert set(data["figures"]) == {figure["id"] for figure in page.named("figure")}
    words = [panel["alt"] for panels in data["figures"].values() for panel in panels]
    assert sorted(words) == sorted(picture["aria-label"] for picture in page.named("svg"))
    text = html.unescape(report.html).replace("\N{NO-BREAK SPACE}", " ")
    assert f'<p class="advice">{data["advice"]}</p>' in text
    [panel, *_] = data["figures"]["score_against_rate"]
    assert set(panel) == {*(one.name for one in fields(RatePanel)), "alt"}


def test_its_data_are_json_where_a_number_is_not_finite(sweep):
    sweep.trial(0.2)
    [table] = [trials_tables(sweep.facts().record, is_live=False)[0]]
    endless = Table("t", ("a",), (row(Cell("-", value=math.inf)), row(Cell("x", value=0.5))))
    data = json.loads(report_data("demo", [table, None, [endless]], {}))
    assert data["name"] == "demo"
    assert [one["title"] for one in data["tables"]] == [table.title, "t"]
    assert data["tables"][1]["rows"] == [[None], [0.5]]


def test_the_page_needs_nothing_else(report):
    page = Page(report.html)
    assert page.named("script") == page.named("img") == page.named("iframe") == []
    [policy] = [meta for meta in page.named("meta") if "http-equiv" in meta]
    assert policy["content"].startswith("default-src 'none'")
    links = re.findall(r"""(?:href|src|url)\s*[=(]\s*["']?([^"'\s)>]+)""", report.html)
    assert {link for link in links if not link.startswith("#")} == {"data:,"}
    assert "http://" not in report.html.replace("http-equiv", "")
    assert "https://" not in report.html


@pytest.mark.slow
def test_a_report_of_the_same_facts_has_the_same_bytes(sweep):
    sweep.trial(0.2)
    first, second = (make_report(sweep.facts()) for _ in range(2))
    assert first == second


@pytest.mark.slow
def test_what_a_ledger_says_is_shown_and_never_run(sweep):
    sweep.trial(0.2, method=HOSTILE)
    sweep.trial(0.0, params={f"adapter.{HOSTILE}": HOSTILE})
    sweep.trial(0.0, state="FAILED", reason=HOSTILE, num_reports=0)
    sweep.spec["task"]["name"] = HOSTILE
    page = Page(make_report(sweep.facts()).html)
    assert page.named("script") == []
    assert HOSTILE in page.text


@pytest.mark.slow
def test_a_hostile_benchmark_is_drawn_as_it_is_called():
    sweep = Sweep(benchmarks=("arc",))
    sweep.benchmarks = (HOSTILE,)
    sweep.spec["task"]["benchmarks"] = [HOSTILE]
    sweep.trial(0.0)
    report = make_report(sweep.facts())
    page = Page(report.html)
    assert page.named("script") == []
    assert any(HOSTILE in picture["aria-label"] for picture in page.named("svg"))


def test_a_sweep_that_has_only_begun_has_a_page(sweep):
    sweep.outcome, sweep.is_live = None, True
    report = make_report(sweep.facts())
    text = " ".join(Page(report.html).text.split())
    assert report.images == {}
    for words in (
        "0 trials · running · as of 2026-01-01 00:00 UTC",
        "There is no answer yet.",
        "no trial that has one is complete (trials: none)",
        "There are no curves: no trial has been evaluated more than once yet.",
        "(fANOVA) is not known: needs 10 trials that trained equally long, got 0.",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("outcome", "reason", "is_live", "words"),
    [
        (None, None, True, "running"),
        (None, None, False, "interrupted: its driver died"),
        (SweepOutcome.INTERRUPTED, "SIGTERM", False, "interrupted: SIGTERM"),
        (SweepOutcome.FAILED, "no group could start", False, "failed: no group could start"),
    ],
)
def test_a_sweep_that_did_not_end_well_says_so(sweep, outcome, reason, is_live, words):
    sweep.trial(state="RUNNING", num_reports=0)
    sweep.outcome, sweep.reason, sweep.is_live = outcome, reason, is_live
    text = Page(make_report(sweep.facts()).html).text
    assert f"1 trial · {words} · as of" in text
    assert ("interrupted\n" in text) == (not is_live)


@pytest.mark.slow
def test_missing_scores_are_shown_as_missing(sweep):
    sweep.trial(0.0, (0.5, None))
    sweep.trial(0.2, (0.6, float("nan")))
    sweep.trial(0.4, 0.7, state="STOPPED")
    text = " ".join(Page(make_report(sweep.facts()).html).text.split())
    answer = text.split("What to use")[0]
    assert "Try a pruning rate of 0.2 on arc" in answer
    assert "There is no answer on gsm yet" in answer
    assert "In the mean over the benchmarks: no complete trial has a score." in answer
    assert "mean: no complete trial has a score" in text
    assert "nan" not in text


def test_a_written_page_holds_no_secret_and_is_its_owners(report, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_" + "a" * 30)
    secret = "hf_" + "a" * 30
    leaking = replace(report, html=report.html + secret, data=report.data + secret)
    path = write_report(leaking, tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / "report.html"
    assert "hf_a" not in path.read_text()
    assert "hf_a" not in path.with_suffix(".json").read_text()
    assert len(list(path.parent.iterdir())) == 2 + len(report.images)
    assert {file.stat().st_mode & 0o077 for file in path.parent.iterdir()} == {0}


def test_a_folder_that_cannot_be_written_is_named(report, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SweepError, match=rf"^{tmp_path}/file.*: cannot write: "):
        write_report(report, tmp_path / "file" / "reports")


def test_a_sweep_that_compares_methods_shows_them_side_by_side():
    sweep = Sweep(search={"parameters": {"adapter.method": {"values": ["lora", "dora"]}}})
    sweep.trial(0.0, 0.5, method="lora", params={"adapter.method": "lora"})
    sweep.trial(0.0, 0.6, method="dora", params={"adapter.method": "dora"})
    table = methods_table(sweep.facts().methods)
    assert [[cell.text for cell in row.cells[:5]] for row in table.rows] == [
        ["method=lora", "50.0 %", "50.0 %", "50.0 %", "reference"],
        ["method=dora", "60.0 %", "60.0 %", "60.0 %", table.rows[1].cells[4].text],
    ]
    assert table.rows[1].cells[4].text.startswith("+10.0 points [")


def test_a_search_for_several_objectives_shows_its_front():
    sweep = Sweep(benchmarks=("arc",))
    sweep.spec["search"]["objectives"] = ["arc", "memory"]
    for score, memory in ((0.5, 2.0), (0.6, 3.0), (0.4, 2.5)):
        trial = sweep.trial(0.0, score)
        metrics = {**trial.metrics, "peak_memory_gb": memory}
        sweep.trials[-1] = replace(trial, metrics=metrics)
    facts = sweep.facts()
    table = pareto_table(facts.searched, facts.objectives)
    assert table.columns == ("trial", "arc (high)", "memory (low)")
    assert [[cell.text for cell in row.cells] for row in table.rows] == [
        ["t0001-00000001", "60.0 %", "3.00 GB"],
        ["t0000-00000000", "50.0 %", "2.00 GB"],
    ]
    assert pareto_table(facts.searched, ()).rows == ()


@pytest.mark.parametrize(
    ("confirm_section", "words"),
    [
        (
            None,
            "run results/demo/sweep.yaml --set 'confirm={examples: validation, max_seeds: 12}' "
            "trains the best",
        ),
        ({"seeds": 3}, "The confirmation has not reached a decision yet."),
    ],
)
def test_a_hint_says_what_would_settle_it(confirm_section, words):
    sweep = Sweep(benchmarks=("arc",))
    sweep.spec["confirm"] = confirm_section
    sweep.trial(0.0)
    sweep.trial(0.2)
    assert words in " ".join(Page(make_report(sweep.facts()).html).text.split())
