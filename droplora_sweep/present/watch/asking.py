"""Requests that the page passes on to a sweep's driver, the way the commands do."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from droplora_sweep.errors import DropLoRASweepError, InputError
from droplora_sweep.ledger.reader import Ledger, named_trial
from droplora_sweep.ledger.requests import Ask, ask_driver, request_stop, require_driver
from droplora_sweep.redaction import redact
from droplora_sweep.run.control import cloned_spec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MOST_SHOWN = 6


class Action(StrEnum):
    """Change that the page can ask for."""

    PIN = "pin"
    STOP_TRIAL = "stop-trial"
    CLONE = "clone"
    STOP_SWEEP = "stop"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request, and what came of it.

    Attributes:
        time: Time of the answer, UTC.
        what: The request, as its command.
        lines: The answer: one line, or one for each fault of a clone's settings.
        is_done: True where the driver did it.
    """

    time: datetime
    what: str
    lines: tuple[str, ...]
    is_done: bool


class Desk:
    """Asks the driver, and remembers the last answers; may be used by several threads.

    Args:
        storage: Folder that the sweep is in.
        name: The sweep's.
    """

    def __init__(self, storage: Path, name: str) -> None:
        self._storage = storage
        self._name = name
        self._lock = threading.Lock()
        self._asked: deque[Asked] = deque(maxlen=MOST_SHOWN)

    @property
    def asked(self) -> tuple[Asked, ...]:
        """The last requests, the latest first."""
        with self._lock:
            return tuple(reversed(self._asked))

    def ask(self, form: Mapping[str, str]) -> Asked:
        """Pass a form's request on, and wait for the answer.

        Args:
            form: ``action`` and ``trial``; of a clone ``settings``, a ``path=value`` on each line,
                and ``from_adapter``, which is not empty where it is to start there.
        """
        trial = form.get("trial", "")
        what = " ".join(filter(None, [form.get("action"), trial]))
        is_done = True
        try:
            answer = self._pass_on(form, trial)
        except DropLoRASweepError as error:
            answer, is_done = redact(str(error)), False
        lines = tuple(answer.splitlines())
        asked = Asked(time=datetime.now(UTC), what=what, lines=lines, is_done=is_done)
        with self._lock:
            self._asked.append(asked)
        return asked

    def _pass_on(self, form: Mapping[str, str], trial: str) -> str:
        given = form.get("action", "")
        if given not in list(Action):
            raise InputError.of("action", f"must be one of {', '.join(Action)}, got {given!r}")
        action = Action(given)
        if action is Action.STOP_SWEEP:
            holder = request_stop(self._storage, self._name)
            return f"asked its driver to stop ({holder}); it saves its trials"
        require_driver(self._storage, self._name)
        ledger = Ledger.open(self._storage, self._name)
        parent = named_trial(ledger, trial)
        if action is Action.CLONE:
            return self._clone(ledger, parent.trial_id, form)
        ask = Ask.PIN if action is Action.PIN else Ask.STOP_TRIAL
        return ask_driver(self._storage, self._name, ask, parent.trial_id)

    def _clone(self, ledger: Ledger, trial_id: str, form: Mapping[str, str]) -> str:
        settings = [line.strip() for line in form.get("settings", "").splitlines() if line.strip()]
        is_warm = bool(form.get("from_adapter"))
        spec = cloned_spec(ledger, ledger.trial(trial_id), settings, from_adapter=is_warm)
        return ask_driver(
            self._storage,
            self._name,
            Ask.CLONE,
            trial_id,
            spec=spec.model_dump(mode="json"),
            from_adapter=is_warm,
        )
