"""The page as readers see it: in Chromium, on a desk, on a phone, and in black and white."""

import functools
import http.server
import json
import re
import threading
from dataclasses import replace

import pytest

from droplora_sweep.present.figures import canvas, trials
from droplora_sweep.present.report.page import make_report, write_report

from .browser import browse, needs_chromium
from .conftest import Sweep, confirm

WIDTHS = {"desk": 1280, "tablet": 768, "phone": 360}

MEASURE = """<!DOCTYPE html><meta charset="utf-8"><link rel="icon" href="data:,">
<pre id="found"></pre>
<iframe id="frame" width="%d" height="900" src="report.html"></iframe>
<script>
frame.onload = () => {
  const page = frame.contentDocument, root = page.documentElement;
  const seen = (one) => one.getBoundingClientRect();
  found.textContent = JSON.stringify({
    width: root.clientWidth,
    needed: root.scrollWidth,
    advice: seen(page.querySelector(".advice")).bottom,
    pictures: [...page.querySelectorAll("svg")].map((one) => seen(one).width),
    text: parseFloat(getComputedStyle(page.querySelector("td")).fontSize),
  });
};
</script>"""


class Server(http.server.ThreadingHTTPServer):
    """Serves a folder on the loopback interface and remembers what was asked for."""

    def __init__(self, folder):
        self.asked = []
        asked = self.asked

        class Handler(http.server.SimpleHTTPRequestHandler):
            def log_message(self, _format, *arguments):
                asked.append(str(arguments[0]).split()[1])

        super().__init__(("127.0.0.1", 0), functools.partial(Handler, directory=folder))

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"


@pytest.fixture(scope="module")
def pages(tmp_path_factory, searched_facts):
    """A confirmed sweep with long names, a search alone, and a sweep without a trial."""
    folder = tmp_path_factory.mktemp("pages")
    decisions = [confirm({0.0: 0.5, 0.2: 0.7}, subject) for subject in ("mean", "arc", "gsm")]
    long_names = Sweep(benchmarks=("a_benchmark_with_a_long_name_" + "x" * 34,))
    long_names.trial(0.0, 0.5)
    long_names.trial(0.2, None, state="FAILED", num_reports=0, reason="out_of_memory" * 20)
    all_facts = {
        "confirmed": replace(searched_facts, confirmed=tuple(decisions)),
        "long": long_names.facts(),
        "empty": Sweep().facts(),
    }
    for name, facts in all_facts.items():
        write_report(make_report(facts), folder / name)
    return folder


@pytest.mark.slow
@needs_chromium
@pytest.mark.parametrize("name", ["confirmed", "long", "empty"])
@pytest.mark.parametrize("device", WIDTHS)
def test_nothing_is_wider_than_the_screen(pages, tmp_path, name, device):
    width = WIDTHS[device]
    (pages / name / "measure.html").write_text(MEASURE % width)
    server = Server(pages / name)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    options = ("--virtual-time-budget=10000", "--enable-logging=stderr", "--dump-dom")
    done = browse(f"{server.address}/measure.html", tmp_path, *options)
    server.shutdown()
    found = json.loads(re.search(r'<pre id="found">(.*?)</pre>', done.stdout)[1])
    assert found["needed"] <= found["width"] <= width
    assert found["advice"] < 500, "the answer is seen without scrolling"
    assert found["text"] >= 12
    for picture in found["pictures"]:
        # As wide as the screen, or in a part of the page that can be moved sideways.
        assert picture >= min(300, width - 60)
    # Nothing else was asked for, of this server or of any other, and nothing was refused.
    assert server.asked == ["/measure.html", "/report.html"]
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []


@pytest.mark.slow
@needs_chromium
@pytest.mark.parametrize("device", WIDTHS)
def test_the_page_has_a_screenshot_in_colour_and_in_grey(pages, tmp_path, device):
    from PIL import Image, ImageStat

    page = (pages / "confirmed" / "report.html").read_text()
    grey = tmp_path / "grey.html"
    grey.write_text(page.replace("<style>", "<style>html{filter:grayscale(1)}", 1))
    for source in (pages / "confirmed" / "report.html", grey):
        picture = tmp_path / f"{source.parent.name}-{source.stem}-{device}.png"
        size = f"--window-size={max(500, WIDTHS[device])},3000"
        browse(source.as_uri(), tmp_path, size, f"--screenshot={picture}")
        with Image.open(picture) as image:
            spread = ImageStat.Stat(image.convert("L")).stddev[0]
            saturation = ImageStat.Stat(image.convert("HSV")).sum[1]
        assert spread > 10, "there is something on it"
        assert (saturation == 0) == (source == grey)


def test_series_differ_in_more_than_colour():
    colors, markers, lines = zip(*canvas.SERIES, strict=True)
    assert len(set(colors)) == len(set(markers)) == len(canvas.SERIES)
    assert len(set(map(str, lines))) >= len(canvas.SERIES) - 1
    looks = [(str(line), width) for _, line, width in trials.LOOKS.values()]
    assert len(set(looks)) == len(looks)
