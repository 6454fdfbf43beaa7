"""Take a hand in a sweep while it runs: end a trial, see it to its end, try another setting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .options import DEFAULT_STORAGE, Name, Overrides, Storage
from .printing import own_console

if TYPE_CHECKING:
    from pathlib import Path

    from droplora_sweep.ledger.mailbox import Ask

Trial = Annotated[
    str, typer.Argument(help="A trial's id or its start, e.g. t0003.", show_default=False)
]


def stop_trial(name: Name, trial: Trial, storage: Storage = DEFAULT_STORAGE) -> None:
    """End one trial of a running sweep at its next step; the others go on."""
    from droplora_sweep.ledger.mailbox import Ask

    _ask(storage, name, Ask.STOP_TRIAL, trial)


def pin(name: Name, trial: Trial, storage: Storage = DEFAULT_STORAGE) -> None:
    """Let a trial of a running sweep train to its end, whatever the scheduler thinks of it."""
    from droplora_sweep.ledger.mailbox import Ask

    _ask(storage, name, Ask.PIN, trial)


def clone(
    name: Name,
    trial: Trial,
    overrides: Overrides = None,
    from_adapter: Annotated[
        bool,
        typer.Option("--from-adapter", help="Go on from the trial's adapter, not from a new one."),
    ] = False,
    storage: Storage = DEFAULT_STORAGE,
) -> None:
    """Add a trial to a running sweep: another one's, with some fields replaced."""
    from droplora_sweep.ledger.mailbox import Ask, ask_driver, require_driver
    from droplora_sweep.ledger.reader import Ledger
    from droplora_sweep.ledger.trials import named_trial
    from droplora_sweep.run.cloning import cloned_spec

    require_driver(storage, name)
    ledger = Ledger.open(storage, name)
    parent = named_trial(ledger, trial)
    spec = cloned_spec(ledger, parent, overrides or (), from_adapter=from_adapter)
    answer = ask_driver(
        storage,
        name,
        Ask.CLONE,
        parent.trial_id,
        spec=spec.model_dump(mode="json"),
        from_adapter=from_adapter,
    )
    own_console().print(answer, highlight=False, soft_wrap=True)


def _ask(storage: Path, name: str, ask: Ask, trial: str) -> None:
    from droplora_sweep.ledger.mailbox import ask_driver, require_driver
    from droplora_sweep.ledger.reader import Ledger
    from droplora_sweep.ledger.trials import named_trial

    require_driver(storage, name)
    found = named_trial(Ledger.open(storage, name), trial)
    answer = ask_driver(storage, name, ask, found.trial_id)
    own_console().print(answer, highlight=False, soft_wrap=True)
