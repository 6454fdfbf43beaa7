"""Show data before anything is trained on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from droplora_sweep.plan.data_survey import survey_data
from droplora_sweep.spec import load_sweep_file
from droplora_sweep.spec.loader import load_data_as_sweep
from droplora_sweep.spec.locations import is_data_file_name, is_hub_id, is_url

from .options import Overrides
from .printing import own_console, print_lines, print_tables


def data(
    file: Annotated[
        str,
        typer.Argument(
            help="A search space, or data by themselves: a file, folder, URL or Hub id.",
            show_default=False,
        ),
    ],
    overrides: Overrides = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="PATH|ID", help="The model whose tokenizer counts; else the file's."),
    ] = None,
    examples: Annotated[
        int, typer.Option(min=0, metavar="N", help="Show so many examples of each data set.")
    ] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for other programs.")] = False,
) -> None:
    """Show sizes, lengths, repeats and examples of a file's data, and what is left out of it."""
    from droplora_sweep.present.contents.data import data_json, data_tables, example_title
    from droplora_sweep.present.terminal.examples import example_text

    given = [*(overrides or ()), *([] if model is None else [f"model.path={model}"])]
    is_data = _is_data(file)
    loaded = load_data_as_sweep(file, given) if is_data else load_sweep_file(file, given)
    train = loaded.sweep.task.train
    only = [train.name] if is_data and train is not None else None
    console = own_console()
    with console.status("reading the data"):
        found = survey_data(loaded, num_shown=examples, only=only)
    if as_json:
        print(json.dumps(data_json(found), indent=2, allow_nan=False))  # noqa: T201 - plain JSON
        return
    print_tables(console, data_tables(found))
    print_lines(console, [f"note: {line}" for line in found.notes])
    print_lines(console, [f"not checked: {line}" for line in found.unchecked])
    for example in found.examples:
        console.print()
        print_lines(console, [example_title(example)])
        console.print(example_text(example), highlight=False, soft_wrap=True)


def _is_data(file: str) -> bool:
    """Return True for data, and False for a search space, be it there or not."""
    if file.endswith((".yaml", ".yml")):
        return False
    is_hub = "/" in file and is_hub_id(file) and not Path(file).exists()
    return is_data_file_name(file) or is_url(file) or Path(file).is_dir() or is_hub
