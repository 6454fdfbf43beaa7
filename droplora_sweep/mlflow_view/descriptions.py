"""Descriptions of experiments and sweeps in MLflow's UI: Markdown with links.

The UI opens an address that begins with ``#`` on its own server, wherever that is.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from droplora_sweep.records.layout import REPORT_DATA, REPORT_PAGE, SUMMARY, SUMMARY_TEXT

from .values import MAX_TAG_CHARACTERS
from .views import ALL_SWEEPS, WORKFLOW, all_sweeps, links, own_views

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MOST_SWEEPS = 12
"""Sweeps that an experiment's description names, the newest first."""

_MARKED = re.compile(r"(.*)\n\n<!-- droplora-sweep ([0-9a-f]{16}) -->", re.DOTALL)


def experiment_note(experiment_id: str, tags: Mapping[str, str]) -> str:
    """Return an experiment's description: links to its views, a line for each sweep.

    MLflow shows the first line alone until it is opened.

    Args:
        experiment_id: Its id.
        tags: Its tags, which have the views.
    """
    views = own_views(tags)
    sweeps = [key for key, (_, time_ms) in views.items() if time_ms]
    newest = sorted(sweeps, key=lambda key: views[key][1], reverse=True)[:MOST_SWEEPS]
    lines = [f"{views[key][0]}: {_markdown(links(key, experiment_id))}" for key in newest]
    if ALL_SWEEPS in views:
        lines[:1] = [" · ".join([*lines[:1], _markdown({"all sweeps": all_sweeps(experiment_id)})])]
    text = "\n\n".join(lines)
    return f"{text}\n\n<!-- droplora-sweep {_digest(text)} -->"


def is_own_note(note: str) -> bool:
    """Return True for a description of `experiment_note` that no user has changed since."""
    found = _MARKED.fullmatch(note)
    return found is not None and found[2] == _digest(found[1])


@dataclass(frozen=True)
class Answer:
    """The answer of a sweep, as its summary folder has it.

    Attributes:
        text: A line for each benchmark; "" before there is one.
        advice: The same in a sentence; "" without a report, or with one of an earlier version.
        has_report: True where there is a report.
    """

    text: str = ""
    advice: str = ""
    has_report: bool = False

    @classmethod
    def read(cls, summary: Path) -> Answer:
        """Return the answer that is in a sweep's summary folder."""
        text, data = summary / SUMMARY_TEXT, summary / REPORT_DATA
        found = json.loads(data.read_text(encoding="utf-8")) if data.is_file() else {}
        return cls(
            text.read_text(encoding="utf-8") if text.is_file() else "",
            found.get("advice", ""),
            (summary / REPORT_PAGE).is_file(),
        )


def sweep_note(experiment_id: str, run_id: str, view: str | None, answer: Answer) -> str:
    """Return the description of a sweep's parent run: the answer in words, and links.

    Args:
        experiment_id: Its experiment.
        run_id: The parent run.
        view: Key of the sweep's view; None where the experiment has none.
        answer: The answer.
    """
    report = f"#/experiments/{experiment_id}/runs/{run_id}/artifacts/{SUMMARY}/{REPORT_PAGE}"
    found = {"report": f"{report}?{WORKFLOW}"} if answer.has_report else {}
    found |= {} if view is None else links(view, experiment_id)
    advice = f"**{answer.advice}**" if answer.advice else ""
    lines = "\n".join(f"* {line}" for line in answer.text.splitlines() if line)
    return "\n\n".join(filter(None, [advice, _markdown(found), lines]))[:MAX_TAG_CHARACTERS]


def _markdown(found: Mapping[str, str]) -> str:
    return " · ".join(f"[{name}]({where})" for name, where in found.items())


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
