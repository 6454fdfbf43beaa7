"""Notes on the end of a run: to a program, to a webhook, and where neither takes them."""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from droplora_sweep.errors import InputError
from droplora_sweep.ledger.writer import LedgerWriter
from droplora_sweep.records.trial import SweepOutcome, TrialState
from droplora_sweep.run.ending import Ending
from droplora_sweep.run.outside.notifying import tell_of_end
from droplora_sweep.spec import NotifySpec, load_sweep_file
from tests.raylets import free_ports
from tests.recording import evaluated, planned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SECRET = "T0ken-of-the-channel-1234"
VARIABLE = "CHAT_WEBHOOK"


@pytest.fixture
def ledger(small_sweep: Callable[..., Any], tmp_path: Path) -> Iterator[LedgerWriter]:
    """Three trials: p = 0 with half of the answers, p = 0.5 with most, and one that failed."""
    spec = small_sweep(task={"benchmarks": ["builtin_choice"]})
    ledger = LedgerWriter.create(tmp_path / "results", spec)
    for number, (rate, score) in enumerate(((0.0, 0.5), (0.5, 0.75), (0.25, None))):
        name, fingerprint = f"t000{number}-0000000{number}", f"{number:08x}" + "0" * 56
        trial = spec.trial.model_copy(
            update={"adapter": spec.trial.adapter.model_copy(update={"pruning_rate": rate})}
        )
        params = {"adapter.pruning_rate": rate}
        ledger.trial_started(planned(name, number, fingerprint, trial, params))
        if score is None:
            ledger.trial_finished(name, TrialState.FAILED, reason="NaN loss")
            continue
        metrics = {"val/builtin_choice": score, "val/mean": score}
        ledger.trial_reported(name, evaluated(1, 10, metrics, num_evaluations=1))
        ledger.trial_finished(name, TrialState.COMPLETE)
    yield ledger
    ledger.close()


class Chat:
    """A chat service: keeps what is posted to it.

    Attributes:
        posted: Path and content of each post.
        status: What it answers with.
    """

    def __init__(self) -> None:
        self.posted: list[tuple[str, dict[str, Any]]] = []
        self.status = 200
        chat = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                chat.posted.append((self.path, json.loads(self.rfile.read(length))))
                self.send_response(chat.status)
                self.send_header("Location", "http://127.0.0.1:1/elsewhere")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                del args

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/services/{SECRET}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def chat(monkeypatch: pytest.MonkeyPatch) -> Iterator[Chat]:
    chat = Chat()
    monkeypatch.setenv(VARIABLE, chat.url)
    yield chat
    chat.close()


def told(ledger: LedgerWriter, ending: Ending, **spec: Any) -> list[str]:
    said: list[str] = []
    tell_of_end(ledger, NotifySpec(**spec), said.append, ending)
    return said


def test_a_webhook_gets_the_answer(ledger: LedgerWriter, chat: Chat) -> None:
    assert told(ledger, Ending(SweepOutcome.COMPLETE), webhook_env=VARIABLE) == []
    [(path, note)] = chat.posted
    assert path == f"/services/{SECRET}"
    assert (note["sweep"], note["outcome"], note["reason"]) == ("small", "complete", None)
    assert (note["complete"], note["failed"]) == (2, 1)
    assert "builtin_choice" in note["answer"]
    assert note["text"].startswith("sweep small complete (2 trials complete, 1 failed)\n")
    assert note["answer"] in note["text"]
    assert note["next"] == f"droplora-sweep report small --storage {ledger.storage}"
    assert note["text"].endswith(note["next"])


def test_a_program_reads_it(ledger: LedgerWriter, tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    program = f"import sys, pathlib; pathlib.Path({str(kept)!r}).write_text(sys.stdin.read())"
    ending = Ending(SweepOutcome.FAILED, "group.canary: must pass")
    assert told(ledger, ending, command=(sys.executable, "-c", program)) == []
    note = json.loads(kept.read_text())
    assert (note["outcome"], note["reason"]) == ("failed", "group.canary: must pass")
    assert note["next"].startswith("droplora-sweep resume small ")


def test_only_of_the_ends_that_were_asked_for(ledger: LedgerWriter, chat: Chat) -> None:
    interrupted = Ending(SweepOutcome.INTERRUPTED, "SIGTERM")
    told(ledger, interrupted, webhook_env=VARIABLE)
    assert chat.posted == []
    told(ledger, interrupted, webhook_env=VARIABLE, on=("interrupted",))
    assert len(chat.posted) == 1


def test_what_fails_is_a_line_without_the_secret(
    ledger: LedgerWriter, chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete = Ending(SweepOutcome.COMPLETE)
    for status in (302, 403, 500):
        chat.status = status
        [line] = told(ledger, complete, webhook_env=VARIABLE)
        assert line.startswith(
            f"tracking.notify.webhook_env: the URL in {VARIABLE} answers with {status} "
        )
    (port,) = free_ports(1)
    monkeypatch.setenv(VARIABLE, f"http://127.0.0.1:{port}/{SECRET}")
    [line] = told(ledger, complete, webhook_env=VARIABLE)
    assert line.endswith(f"the URL in {VARIABLE} does not answer: ConnectionError")
    monkeypatch.setenv(VARIABLE, f"no url {SECRET}")
    [line] = told(ledger, complete, webhook_env=VARIABLE)
    assert SECRET not in line
    monkeypatch.delenv(VARIABLE)
    [line] = told(ledger, complete, webhook_env=VARIABLE)
    assert line.endswith(f"got {VARIABLE}, which is not set")
    [line] = told(ledger, complete, command=("no-such-program",))
    assert line == (
        "tracking.notify.command: must be a program that can be started, got no-such-program: "
        "No such file or directory"
    )
    [line] = told(ledger, complete, command=(sys.executable, "-c", "raise SystemExit('no mail')"))
    assert line.endswith(" ended with 1: no mail")


def test_an_url_in_the_file_is_refused_without_showing_it(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(f"name: s\ntracking:\n  notify: {{webhook_env: 'http://h/{SECRET}'}}\n")
    with pytest.raises(InputError) as caught:
        load_sweep_file(file)
    assert "must be the name of an environment variable (A-Z, 0-9 and _), not the URL" in str(
        caught.value
    )
    assert SECRET not in str(caught.value)
