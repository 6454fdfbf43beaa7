"""The page as its reader has it: in Chromium, on screens of every size, light and dark."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from droplora_sweep.ledger.progress import LiveProgress, TimeLeft, TrialProgress, write_progress
from tests.chrome import Tab
from tests.ledgers import Driver, make_sweep
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
    assert [one for one in tab.complaints if "ERR_CONNECTION_REFUSED" not in one] == []


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
    driver.ledger.close()
