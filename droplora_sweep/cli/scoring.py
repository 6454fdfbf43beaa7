"""Score adapters outside a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from droplora_sweep.errors import InputError
from droplora_sweep.ledger.reader import Ledger, find_trial
from droplora_sweep.plan.survey import check_comparison, check_sandbox, prepare
from droplora_sweep.records.layout import RESULTS
from droplora_sweep.spec import load_sweep_file

from .options import (
    DEFAULT_STORAGE,
    AllowCode,
    File,
    Name,
    Overrides,
    Split,
    Storage,
    Trial,
    storage_folder,
    unsandboxed,
    usable_path,
)
from .printing import own_console, print_tables


def evaluate(
    file: File,
    overrides: Overrides = None,
    adapter: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER|RUN",
            help="An adapter's (or a whole model's) folder, or an MLflow run; else the base model.",
        ),
    ] = None,
    split: Annotated[Split, typer.Option(help="Which examples.")] = Split.VALIDATION,
    allow_code: AllowCode = False,
    output: Annotated[
        Path | None,
        typer.Option(help="Write results.parquet and scores.json here.", callback=usable_path),
    ] = None,
    storage: Annotated[
        Path | None,
        typer.Option(
            parser=storage_folder,
            metavar="FOLDER|URL",
            callback=usable_path,
            help="Where an MLflow run is; the file's storage if not set.",
        ),
    ] = None,
    compare_generation: Annotated[
        bool,
        typer.Option(
            "--compare-generation",
            help="With `evaluation.choice: score`: decode too, and tell how often both agree.",
        ),
    ] = False,
) -> None:
    """Score an adapter or a base model on a file's task, outside a sweep."""
    prepared = prepare(load_sweep_file(file, [*(overrides or ()), *unsandboxed(allow_code)]))
    check_sandbox(prepared.file, prepared.task)
    if compare_generation:
        check_comparison(prepared)
    # torch takes seconds to import, which a fault in the file does not cost.
    from droplora_sweep.export.scoring import score_outside_a_sweep
    from droplora_sweep.present.contents.scores import scores_table

    console = own_console()
    with console.status(f"scoring on the {split} split"):
        scored = score_outside_a_sweep(
            prepared.sweep, adapter, split.value, storage, compare_generation=compare_generation
        )
    print_tables(console, [scores_table(scored, prepared.sweep.evaluation.on_long_prompt)])
    if output is not None:
        scored.write(output)
        console.print(f"per-example results: {output / RESULTS}", highlight=False)


def compress(
    name: Name,
    trial: Trial,
    ranks: Annotated[
        str | None, typer.Option(metavar="N,N,...", help="Halves of the adapter's rank if not set.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Write each truncated adapter to OUTPUT/rank-N.", callback=usable_path),
    ] = None,
    cpu: Annotated[
        bool, typer.Option("--cpu", help="Score on the CPU, also where the sweep had GPUs.")
    ] = False,
    storage: Storage = DEFAULT_STORAGE,
) -> None:
    """Truncate a trial's adapter to lower ranks and score each on the validation split."""
    wanted = None if ranks is None else _numbers("--ranks", ranks)
    ledger = Ledger.open(storage, name)
    found = find_trial(ledger, trial)
    on_gpu = not cpu and ledger.record.spec.get("group", {}).get("gpus_per_worker", 0) > 0
    # torch takes seconds to import, which a wrong name does not cost.
    from droplora_sweep.export.compression import lowest_kept, rank_curve
    from droplora_sweep.present.contents.scores import curve_table

    console = own_console()
    with console.status("loading the model") as doing:
        points = rank_curve(
            found,
            wanted,
            output,
            lambda rank: doing.update(f"scoring rank {rank}"),
            on_gpu=on_gpu,
        )
    print_tables(console, [curve_table(found, points, lowest_kept(points))])


def _numbers(option: str, text: str) -> list[int]:
    """The whole numbers that commas separate.

    Raises:
        InputError: Something else is between two commas.
    """
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        problem = f"must be whole numbers with commas between, got {text}"
        raise InputError.of(option, problem) from error
