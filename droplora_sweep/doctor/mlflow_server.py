"""One request to the MLflow server that a sweep publishes to, from the driver's node."""

from __future__ import annotations

import base64
import os
import urllib.error
import urllib.request
from typing import Final

from .facts import HERE
from .findings import Finding, Level

LIMIT_S: Final = 10.0
QUESTION: Final = "/api/2.0/mlflow/experiments/search?max_results=1"
"""Unlike ``/health``, it asks for the login and for an allowed Host header."""
USER, PASSWORD, TOKEN = (f"MLFLOW_TRACKING_{name}" for name in ("USERNAME", "PASSWORD", "TOKEN"))


def mlflow_finding(uri: str) -> Finding:
    """Ask a server, with the login of the environment, which is not shown."""
    request = urllib.request.Request(uri.rstrip("/") + QUESTION)
    if token := os.environ.get(TOKEN):
        request.add_header("Authorization", f"Bearer {token}")
    elif user := os.environ.get(USER):
        login = f"{user}:{os.environ.get(PASSWORD, '')}".encode()
        request.add_header("Authorization", f"Basic {base64.b64encode(login).decode()}")
    try:
        with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
            answer.read(1)
    except urllib.error.HTTPError as error:
        with error:
            said = error.read(400).decode(errors="replace")
        return judge_answer(error.code, said)
    except (OSError, ValueError) as error:
        return _finding(
            Level.FAULT,
            f"no answer: {getattr(error, 'reason', error)}",
            "start the server, or correct tracking.mlflow_uri; results stay in the ledger",
        )
    return _finding(Level.OK, "answers", "")


def judge_answer(code: int, said: str) -> Finding:
    """Return the finding of a refusal. Pure."""
    if code in (401, 403) and "host" not in said.lower():
        return _finding(
            Level.FAULT, f"HTTP {code}: asks for a login", f"set {USER} and {PASSWORD}, or {TOKEN}"
        )
    if "host" in said.lower():
        return _finding(
            Level.FAULT,
            f"HTTP {code}: refuses the name by which it is reached",
            "start it with `mlflow server --allowed-hosts` and that name",
        )
    return _finding(Level.FAULT, f"HTTP {code}", "see the server's log")


def _finding(level: Level, text: str, advice: str) -> Finding:
    field = "tracking.mlflow_uri" if advice else ""
    return Finding(check="MLflow", place=HERE, level=level, text=text, advice=advice, field=field)
