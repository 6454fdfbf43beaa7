"""The words of the page, of sweeps of every kind and in every state; nothing is trained."""

from __future__ import annotations

import re
import time
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest

from droplora_sweep.ledger.following import Follower
from droplora_sweep.ledger.progress import LiveProgress, TimeLeft, TrialProgress, write_progress
from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.present.contents.facts import facts_of
from droplora_sweep.present.watch.asking import Asked
from droplora_sweep.present.watch.charts import ticks
from droplora_sweep.present.watch.page import Reader, render, render_trial
from droplora_sweep.present.watch.watcher import Watcher
from droplora_sweep.records.layout import EVENTS
from droplora_sweep.records.trial import SweepOutcome, TrialState
from tests.ledgers import KINDS, Driver, make_sweep
from tests.replaying import prefixes, turning_points

from .conftest import ADAPTER

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from droplora_sweep.present.watch.watcher import Moment

READER = Reader(token="tulip-in-march", can_control=True)
HOSTILE = "<script>alert(1)</script>\"'&<!--"


class Page(HTMLParser):
    """Tags and text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.text += " " if tag in ("td", "th") else ""

    def handle_data(self, data: str) -> None:
        self.text += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def answered(watcher: Watcher) -> Moment:
    """The sweep, once its answer has been worked out."""
    deadline = time.monotonic() + 240
    while (moment := watcher.now(at_once=True)).is_answer_late:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return moment


def shown(storage: Path, name: str = "demo", asked: Sequence[Asked] = ()) -> Page:
    return Page(render(answered(Watcher(Follower(storage, name))), READER, asked, 2.0))


def test_a_sweep_that_has_only_begun_has_a_page(driver: Driver, tmp_path: Path) -> None:
    page = shown(tmp_path)
    assert "Running on " in page.text
    assert "There is no answer yet." in page.text
    assert "No trial runs just now" in page.text
    assert page.named("svg") == []


def test_running_trials_have_their_steps_and_controls(driver: Driver, tmp_path: Path) -> None:
    driver.run(0.0)
    stopping, pinned, plain = (driver.start(rate) for rate in (0.2, 0.4, 0.6))
    driver.report(plain, 1, of=3)
    driver.ledger.trial_stop_asked(stopping, "ann@host")
    driver.ledger.trial_pinned(pinned, "ann@host")
    live = LiveProgress({plain: TrialProgress(12, 30, 95.0)}, TimeLeft(60.0))
    write_progress(tmp_path / "demo", live)
    page = shown(tmp_path)
    assert "step 12/30, 1 min 35 s so far" in page.text
    [bar] = page.named("progress")
    assert (bar["value"], bar["max"], bar["aria-label"]) == ("12", "30", f"Steps of {plain}")
    forms = [
        (one["value"], other["value"])
        for one, other in zip(page.named("input"), page.named("input")[1:], strict=False)
        if (one["name"], other["name"]) == ("action", "trial")
    ]
    assert forms == [("stop-trial", pinned), ("pin", plain), ("stop-trial", plain)]
    assert "about 1 min 0 s left" in page.text
    tokens = {one["value"] for one in page.named("input") if one["name"] == "token"}
    assert tokens == {READER.token}


def test_the_answer_is_in_the_words_of_best(tmp_path: Path, call: Any) -> None:
    KINDS["searched"](tmp_path, ADAPTER)
    page = shown(tmp_path, "searched")
    code, printed, _ = call("best", "searched", "--storage", tmp_path)
    assert code == 0
    facts = facts_of(Ledger.open(tmp_path, "searched"), explores=False)
    for line in facts.conclusion.splitlines():
        assert line in printed
        assert " ".join(line.split()) in page.text.replace("\N{NO-BREAK SPACE}", " ")
    assert "The sweep is over: this is its last answer." in page.text
    assert "Over complete" in page.text
    assert "nobody to ask for changes" in page.text
    assert page.named("form") == []


def test_every_curve_and_point_is_told_in_words_too(driver: Driver, tmp_path: Path) -> None:
    for rate in (0.0, 0.2):
        name = driver.start(rate)
        for number in (1, 2):
            driver.report(name, number, of=2)
        driver.finish(name)
    name = driver.start(0.4)
    driver.report(name, 1, of=2)
    page = shown(tmp_path)
    pictures = page.named("svg")
    assert all(one["role"] == "img" for one in pictures if "aria-label" in one)
    curves = next(one["aria-label"] for one in pictures if "steps" in (one.get("aria-label") or ""))
    assert curves is not None
    assert curves.startswith("val/mean over optimiser steps of 3 trials. Best complete trial: t000")
    assert f"Running: {name} " in curves
    assert f"{name}, p = 0.4, running: " in page.text
    keys = [attributes for _, attributes in page.tags if attributes.get("data-trial") == name]
    assert len(keys) == 3, "its curve, its card and its row belong together"


def test_what_a_ledger_says_is_shown_and_never_run(driver: Driver, tmp_path: Path) -> None:
    name = driver.start(0.2)
    driver.finish(name, TrialState.FAILED, HOSTILE)
    driver.ledger.trial_pinned(driver.start(0.4), HOSTILE)
    watcher = Watcher(Follower(tmp_path, "demo"))
    moment = answered(watcher)
    asked = Asked(
        time=moment.look.ledger.record.started, what=HOSTILE, lines=(HOSTILE,), is_done=False
    )
    html = render(moment, READER, [asked], 2.0)
    page = Page(html)
    assert [one.get("src") for one in page.named("script")] == ["/script.js"]
    assert HOSTILE in page.text
    trial = moment.look.ledger.trial(name)
    form = {"settings": HOSTILE, "from_adapter": HOSTILE}
    html = render_trial(moment, READER, trial, asked, form)
    assert Page(html).named("script") == []
    assert "<script>alert" not in html


def test_the_page_loads_nothing_from_elsewhere(driver: Driver, tmp_path: Path) -> None:
    name = driver.run(0.2)
    html = render(answered(Watcher(Follower(tmp_path, "demo"))), READER, (), 2.0)
    links = re.findall(r"""(?:href|src|action)="([^"]*)\"""", html)
    assert all(link.startswith(("/", "#", "data:,")) for link in links)
    assert f"/trial?id={name}&amp;token={READER.token}" in links, "its own links keep the token"
    assert "//" not in html.replace("<!DOCTYPE html>", "")
    # The policy allows neither.
    assert "style=" not in html
    assert not re.search(r"\son\w+=", html)
    [refresh] = [one for one in Page(html).named("meta") if one.get("http-equiv")]
    assert refresh["content"] == "10", "where no script runs, the page loads itself anew"


def test_hours_are_those_of_the_ledger_and_of_its_limits(tmp_path: Path) -> None:
    search = {"num_trials": 4, "budget": {"gpu_hours": 2.0}}
    sections = {"search": search, "confirm": {"rates": 1, "seeds": 3, "gpu_hours": 5.0}}
    driver = Driver(tmp_path, make_sweep("demo", **sections), ADAPTER)
    name = driver.start(0.2)
    live = LiveProgress({name: TrialProgress(1, 4, 9.0)}, TimeLeft(1800.0, (3600.0, 7200.0)))
    write_progress(tmp_path / "demo", live)
    text = shown(tmp_path).text
    # Groups have two workers: half an hour of the clock takes an hour of them.
    assert re.search(r"search, worker hours (<0\.001|0\.0\d+) 2 2 about 1 ", text)
    assert "confirmation, worker hours 0 5 5 about 2 to 4" in text
    driver.finish(name)
    driver.end()


def test_damage_is_told_and_the_last_state_stays(driver: Driver, tmp_path: Path) -> None:
    driver.run(0.2)
    watcher = Watcher(Follower(tmp_path, "demo"))
    answered(watcher)
    log = tmp_path / "demo" / EVENTS
    whole = log.read_bytes()
    driver.start(0.4)
    later = log.read_bytes()
    log.write_bytes(later.replace(b"0.4", b"0.5") + later)
    html = render(watcher.now(at_once=True), READER, (), 2.0)
    assert "Not as of now: " in html
    assert "1 trial" in html
    log.write_bytes(whole[: len(whole) - 40])
    log.write_bytes(later[: len(later) - 40])
    page = Page(render(watcher.now(at_once=True), READER, (), 2.0))
    assert "Not as of now" not in page.text, "a line that is being written is no damage"
    log.write_bytes(later)
    assert "2 trials" in Page(render(watcher.now(at_once=True), READER, (), 2.0)).text


def test_a_sweep_that_is_interrupted_says_what_resumes_it(driver: Driver, tmp_path: Path) -> None:
    driver.start(0.2)
    driver.ledger.sweep_finished(SweepOutcome.INTERRUPTED, reason="SIGTERM")
    driver.ledger.close()
    page = shown(tmp_path)
    assert "Interrupted SIGTERM; resumable: droplora-sweep resume demo" in page.text
    assert "Nothing runs." in page.text


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_sweeps_of_every_kind_have_a_page_after_any_event(kind: str, tmp_path: Path) -> None:
    storage = tmp_path / "results"
    KINDS[kind](storage, ADAPTER)
    wanted = turning_points(storage, kind)
    for number, copy in prefixes(storage, kind, tmp_path):
        if number not in wanted:
            continue
        page = shown(copy, kind)
        assert "Every trial" in page.text
        assert "None" not in page.text.replace("None of", "")
        identifiers = [one["id"] for _, one in page.tags if "id" in one]
        assert len(set(identifiers)) == len(identifiers)


def test_ticks_are_round_and_few() -> None:
    assert ticks(0.0, 0.0) == [0.0]
    for low, high in ((0.0, 1.0), (0.31, 0.33), (0.0, 12345.0), (-0.2, 0.1), (0.999, 1.0)):
        found = ticks(low, high)
        assert 2 <= len(found) <= 7, (low, high)
        assert all(low - 1e-9 <= value <= high + 1e-9 for value in found)
