"""The page as its reader has it: in Chromium, by mouse, finger and keys, while a ledger grows."""

from __future__ import annotations

import shutil
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from droplora_sweep.ledger.progress import LiveProgress, TimeLeft, TrialProgress, write_progress
from droplora_sweep.ledger.requests import Answer, Ask, Mailbox
from droplora_sweep.records.layout import EVENTS
from tests.chrome import Tab
from tests.ledgers import KINDS, Driver, make_sweep
from tests.present.report.browser import needs_chromium

from .conftest import ADAPTER, served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.slow, needs_chromium, pytest.mark.timeout(900)]

SCREENS = {"desk": (1280, 900, False), "tablet": (768, 1000, True), "phone": (360, 740, True)}
CONTRAST = """(() => {
  const parts = (text) => text.match(/[0-9.]+/g).map(Number);
  const light = ([red, green, blue]) => {
    const [r, g, b] = [red, green, blue].map((one) => one / 255)
      .map((one) => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const found = parts(getComputedStyle(node).backgroundColor);
      if (found.length === 3 || found[3] === 1) return found;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((one) => one.nodeType === 3 && one.nodeValue.trim());
    if (!own || !node.checkVisibility() || node.nodeName === "TITLE") continue;
    const style = getComputedStyle(node);
    const ink = light(parts(node.namespaceURI.endsWith("svg") ? style.fill : style.color));
    const paper = light(behind(node));
    const ratio = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    if (ratio < 4.5) poor.push(`${node.nodeName} ${node.className} ${ratio.toFixed(2)}`);
  }
  return poor;
})()"""
"""Texts whose contrast is below that of WCAG 2.2, 1.4.3 (AA)."""
UNNAMED = """[...document.querySelectorAll(
  "button, a, summary, input, textarea, progress, svg[role]")]
  .filter((one) => one.type !== "hidden" && !(one.getAttribute("aria-label")
    || one.textContent.trim() || (one.labels && one.labels.length)))
  .map((one) => one.outerHTML)"""
FOCUS = "document.activeElement.textContent.trim()"


@pytest.fixture(scope="module")
def tab() -> Iterator[Tab]:
    with Tab() as found:
        yield found


@pytest.fixture(autouse=True)
def _no_complaints(tab: Tab) -> Iterator[None]:
    tab.complaints.clear()
    tab.look(*SCREENS["desk"][:2])
    yield
    tab.open("data:text/html,nothing")
    assert [one for one in tab.complaints if "ERR_CONNECTION_" not in one] == []


@contextmanager
def answering(driver: Driver) -> Iterator[list[str]]:
    """The trials that were asked about, while the driver does what it is asked for."""
    box = Mailbox(driver.ledger.directory, driver.ledger.holder.token)
    asked: list[str] = []
    is_over = threading.Event()

    def drive() -> None:
        while not is_over.wait(0.05):
            for request in box.take():
                asked.append(f"{request.ask} {request.trial_id}")
                if request.ask is Ask.PIN:
                    driver.ledger.trial_pinned(request.trial_id, request.by)
                elif request.ask is Ask.STOP_TRIAL:
                    driver.ledger.trial_stop_asked(request.trial_id, request.by)
                box.answer(request, Answer(True, f"{request.trial_id}: as asked"))

    thread = threading.Thread(target=drive)
    thread.start()
    try:
        yield asked
    finally:
        is_over.set()
        thread.join()


def half_way(storage: Path) -> tuple[Driver, str, str]:
    """A sweep with trials of every state, two of which run."""
    driver = Driver(storage, make_sweep("demo", search={"budget": {"gpu_hours": 8}}), ADAPTER)
    for number, rate in enumerate((0.0, 0.2, 0.4, 0.6, 0.2)):
        name = driver.start(rate, **{"adapter.rank": 4 + 4 * number})
        for evaluation in (1, 2, 3):
            driver.report(name, evaluation, of=3)
        driver.finish(name)
    first, second = driver.start(0.2, **{"adapter.rank": 32}), driver.start(0.4)
    driver.report(first, 1, of=3)
    live = {first: TrialProgress(14, 30, 75.0), second: TrialProgress(3, 30, 11.0)}
    write_progress(storage / "demo", LiveProgress(live, TimeLeft(340.0)))
    return driver, first, second


@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("mode", ["light", "dark"])
def test_it_fits_every_screen_and_can_be_read(
    tab: Tab, tmp_path: Path, screen: str, mode: str
) -> None:
    width, height, is_phone = SCREENS[screen]
    tab.look(width, height, is_phone=is_phone, is_dark=mode == "dark")
    driver, first, _ = half_way(tmp_path)
    with served(tmp_path) as client:
        for address in (
            client.server.address,
            client.server.address.replace("/?", f"/trial?id={first}&"),
        ):
            tab.open(address)
            if "/trial" not in address:
                tab.until("document.querySelector('#rates') && !document.querySelector('#late')")
            needed = tab.value("document.documentElement.scrollWidth")
            assert needed <= tab.value("document.documentElement.clientWidth") <= width
            assert tab.value(CONTRAST) == []
            assert tab.value(UNNAMED) == []
        tab.open(client.server.address)
        tab.until("document.querySelector('#rates')")
        tab.picture(tmp_path / f"{screen}-{mode}.png")
        advice = tab.value("document.querySelector('.advice').getBoundingClientRect().bottom")
        assert advice < height, "the answer is seen without scrolling"
        if is_phone:
            least = "Math.min(...[...document.querySelectorAll('.acts summary, button, .button')]"
            least += ".filter((one) => one.checkVisibility())"
            least += ".map((one) => one.getBoundingClientRect().height))"
            assert tab.value(least) >= 44, "a finger hits it"
    driver.ledger.close()


@pytest.mark.parametrize("kind", ["stopped_early", "confirmed"])
def test_it_follows_a_ledger_that_grows_without_moving_what_is_read(
    tab: Tab, tmp_path: Path, kind: str
) -> None:
    KINDS[kind](tmp_path / "whole", ADAPTER)
    shutil.copytree(tmp_path / "whole" / kind, tmp_path / "results" / kind)
    log = tmp_path / "results" / kind / EVENTS
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:3]))
    with served(tmp_path / "results", kind) as client:
        tab.open(client.server.address)
        tab.value("window.isSame = true")
        tab.until("document.querySelector('#all-trials tr[data-trial]')")
        tab.value("document.querySelector('#all-trials tr[data-trial] a').focus()")
        focused = tab.value(FOCUS)
        is_open = "document.querySelector('#all-trials').open"
        for number in range(4, len(lines) + 1):
            # A line comes in two parts, as a slow disk may give it.
            half = lines[number - 1][: len(lines[number - 1]) // 2]
            log.write_bytes(b"".join(lines[: number - 1]) + half)
            time.sleep(0.02)
            log.write_bytes(b"".join(lines[:number]))
        tab.until("document.querySelector('#head').innerText.includes('Over')")
        tab.until("!document.querySelector('#late')", 240)
        assert tab.value("window.isSame"), "it was not loaded anew"
        assert tab.value(FOCUS) == focused
        assert tab.value(is_open)
        rows = tab.value("document.querySelectorAll('#all-trials tr[data-trial]').length")
        whole = tab.value(
            "fetch(location.href).then((answer) => answer.text()).then((text) => "
            "new DOMParser().parseFromString(text, 'text/html')"
            ".querySelector('#all-trials').textContent)"
        )
        shown = tab.value("document.querySelector('#all-trials').textContent")
        assert " ".join(shown.split()) == " ".join(whole.split()), "as a fresh page would be"
        assert rows > 4


def test_what_a_reader_opened_stays_open_and_what_is_pointed_at_stands_out(
    tab: Tab, tmp_path: Path
) -> None:
    driver, first, second = half_way(tmp_path)
    with served(tmp_path) as client:
        tab.open(client.server.address)
        tab.until("document.querySelector('#each-benchmark')")
        tab.click("#each-benchmark summary")
        tab.click("#all-trials summary")
        tab.point_away()
        driver.report(second, 1, of=3)
        tab.until(f"document.querySelector('g[data-trial=\"{second}\"]')")
        assert tab.value("document.querySelector('#each-benchmark').open")
        assert not tab.value("document.querySelector('#all-trials').open")
        tab.value(f"document.querySelector('article[data-trial=\"{first}\"] a').focus()")
        lit = "[...document.querySelectorAll('.lit')].map((one) => one.dataset.trial)"
        assert set(tab.value(lit)) == {first}
        driver.report(first, 2, of=3)
        steps = f"document.querySelector('g[data-trial=\"{first}\"] title').textContent"
        tab.until(f"{steps}.includes('step 20')")
        assert set(tab.value(lit)) == {first}
    driver.ledger.close()


def test_trials_are_steered_by_keys_alone(tab: Tab, tmp_path: Path) -> None:
    driver, first, _ = half_way(tmp_path)
    with served(tmp_path) as client, answering(driver) as asked:
        tab.open(client.server.address)
        tab.press("Tab")
        assert tab.value(FOCUS) == first
        tab.press("Tab")
        assert tab.value(FOCUS) == "Pin"
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        assert tab.value(outline) == "solid", "it is seen where one is"
        tab.press("Enter")
        tab.until("document.querySelector('#said').innerText.includes('as asked')")
        tab.until("document.querySelector('.run .mark')")
        # The button is gone; its trial has the focus.
        assert tab.value(FOCUS) == first
        tab.press("Tab")
        assert tab.value(FOCUS) == "Stop…"
        tab.press("Enter")
        tab.press("Tab")
        assert tab.value(FOCUS) == f"Stop {first.partition('-')[0]}"
        tab.press("Enter")
        tab.until("document.querySelector('.run').innerText.includes('is being stopped')")
        assert asked == [f"pin {first}", f"stop-trial {first}"]
        assert tab.value(FOCUS) == first
    driver.ledger.close()


def test_without_scripts_its_forms_and_links_work(tab: Tab, tmp_path: Path) -> None:
    driver, first, second = half_way(tmp_path)
    with served(tmp_path) as client, answering(driver) as asked:
        tab.send("Emulation.setScriptExecutionDisabled", value=True)
        try:
            tab.open(client.server.address)
            tab.click(f"article[data-trial='{second}'] form button")
            tab.until("document.querySelector('#said p')")
            assert asked == [f"pin {second}"]
            assert tab.value("document.querySelector('noscript meta').httpEquiv") == "refresh"
            tab.click(f"article[data-trial='{first}'] .button")
            tab.until("document.querySelector('textarea')")
            tab.click("textarea")
            tab.type("adapter.rank=0")
            tab.click("form button")
            tab.until("document.querySelector('.refused')")
            said = tab.value("document.querySelector('.refused').textContent")
            assert "adapter.rank: must be at least 1, got 0" in said
            assert tab.value("document.querySelector('textarea').value") == "adapter.rank=0"
        finally:
            tab.send("Emulation.setScriptExecutionDisabled", value=False)
    tab.complaints[:] = [one for one in tab.complaints if "422" not in one]
    driver.ledger.close()


def test_it_says_when_nobody_answers_any_more(tab: Tab, tmp_path: Path) -> None:
    driver, *_ = half_way(tmp_path)
    with served(tmp_path) as client:
        tab.open(client.server.address)
        tab.until("document.querySelector('#rates')")
        assert tab.value("document.querySelector('#offline').hidden")
    tab.until("!document.querySelector('#offline').hidden")
    shown: Any = tab.value("document.querySelector('#offline').innerText")
    assert shown.startswith("No answer from droplora-sweep watch: what is below is as it was at ")
    assert tab.value("document.querySelector('.advice').innerText").startswith("Try ")
    driver.ledger.close()
