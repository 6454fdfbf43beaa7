"""The first minutes: what to do first, a sweep to look at, search spaces to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from droplora_sweep import __version__
from droplora_sweep.authoring.shipped import (
    QUICKSTART,
    copy_space,
    find_space,
    shipped_spaces,
)
from droplora_sweep.present.contents.table import Table, row
from droplora_sweep.present.values import command_text

from . import running
from .completion import space_names
from .options import Address, usable_path
from .printing import own_console, print_lines, print_tables

QUESTION = "Which pruning rate, rank and alpha should DropLoRA use for your model and task?"
STEPS = {
    "demo": "a small sweep here and now: CPU only, no network, about three minutes",
    "init": "write a search space for your own model and data, after a few questions",
    "examples": "the search spaces that come with it; copy one to start from",
    "--help": "every command",
}
"""First steps, shown where no command is given."""


def begin(
    context: typer.Context,
    *,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Say what to do first where no command is given."""
    if version:
        print_lines(own_console(), [f"droplora-sweep {__version__}"])
        raise typer.Exit
    if context.invoked_subcommand is None:
        width = max(map(len, STEPS)) + 4
        steps = (f"  droplora-sweep {name:<{width}}{what}" for name, what in STEPS.items())
        print_lines(own_console(), [QUESTION, "", *steps])


def demo(
    storage: Annotated[
        str | None,
        typer.Option(metavar="FOLDER|URL", help="Keep the sweep there; in results/ if not set."),
    ] = None,
    address: Address = "auto",
) -> None:
    """Run a small sweep of the built-in model and tasks: about three minutes on two CPU cores."""
    running.run(find_space(QUICKSTART).path, storage=storage, address=address)


def examples(
    name: Annotated[
        str | None,
        typer.Argument(
            help="The search space to copy; all are listed if not set.",
            show_default=False,
            autocompletion=space_names,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The new file; NAME.yaml in this folder if not set.",
            callback=usable_path,
        ),
    ] = None,
) -> None:
    """List the search spaces that come with the package, or copy one of them."""
    console = own_console()
    if name is None:
        rows = tuple(row(space.name, space.question) for space in shipped_spaces())
        print_tables(console, [Table("Search spaces", ("name", "question"), rows)])
        print_lines(console, ["copy one: droplora-sweep examples NAME"])
        return
    space = find_space(name)
    written = copy_space(space, output or Path(space.path.name))
    print_lines(console, [f"written: {file}" for file in written])
    print_lines(console, [f"next: {command_text('plan', str(written[0]))}"])
