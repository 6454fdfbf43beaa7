"""Score adapters outside a sweep."""

from __future__ import annotations

import contextlib
import signal
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from droplora_sweep.errors import InputError
from droplora_sweep.ledger.reader import Ledger, find_trial, recorded_file
from droplora_sweep.plan.survey import check_comparison, check_sandbox, prepare
from droplora_sweep.present.terminal.noise import NoiseLog
from droplora_sweep.records.layout import RESULTS
from droplora_sweep.spec import load_sweep_file

from .options import (
    DEFAULT_STORAGE,
    AllowCode,
    Cluster,
    File,
    Name,
    Overrides,
    Split,
    Storage,
    Trial,
    direct_address,
    storage_folder,
    unsandboxed,
    usable_path,
)
from .printing import own_console, print_tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from droplora_sweep.export.scoring import MakeScorer
    from droplora_sweep.run.connection import RayAddress
    from droplora_sweep.spec import SweepFile
    from droplora_sweep.tasks.task import Task


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
    address: Cluster = None,
) -> None:
    """Score an adapter or a base model on a file's task, outside a sweep."""
    cluster = None if address is None else direct_address(address)
    prepared = prepare(load_sweep_file(file, [*(overrides or ()), *unsandboxed(allow_code)]))
    check_sandbox(prepared.file, prepared.task)
    if compare_generation:
        check_comparison(prepared)
    # torch takes seconds to import, which a fault in the file does not cost.
    from droplora_sweep.export.scoring import score_outside_a_sweep
    from droplora_sweep.present.contents.scores import scores_table

    sweep, console = prepared.sweep, own_console()
    on_gpu = sweep.group.gpus_per_worker > 0
    doing = f"scoring on the {split} split"
    with _scorers(cluster, prepared.file, doing, on_gpu=on_gpu, here=prepared.task) as scorers:
        scored = score_outside_a_sweep(
            *(sweep, adapter, split.value, storage),
            make_scorer=scorers.make,
            compare_generation=compare_generation,
        )
    print_tables(console, [scores_table(scored, sweep.evaluation.on_long_prompt)])
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
    address: Cluster = None,
    storage: Storage = DEFAULT_STORAGE,
) -> None:
    """Truncate a trial's adapter to lower ranks and score each on the validation split."""
    cluster = None if address is None else direct_address(address)
    wanted = None if ranks is None else _numbers("--ranks", ranks)
    ledger = Ledger.open(storage, name)
    found = find_trial(ledger, trial)
    on_gpu = not cpu and ledger.record.spec.get("group", {}).get("gpus_per_worker", 0) > 0
    # torch takes seconds to import, which a wrong name does not cost.
    from droplora_sweep.export.compression import lowest_kept, rank_curve
    from droplora_sweep.present.contents.scores import curve_table

    file = None if cluster is None else recorded_file(ledger.record, storage)
    with _scorers(cluster, file, "loading the model", on_gpu=on_gpu) as scorers:
        points = rank_curve(
            *(found, wanted, output, lambda rank: scorers.say(f"scoring rank {rank}")),
            make_scorer=scorers.make,
        )
    print_tables(own_console(), [curve_table(found, points, lowest_kept(points))])


@dataclass(frozen=True)
class _Scorers:
    """Scorers of this process or of a cluster.

    Attributes:
        make: Loads a trial's base model.
        say: Shows the user what is done now.
    """

    make: MakeScorer
    say: Callable[[str], None]


@contextlib.contextmanager
def _scorers(
    cluster: RayAddress | None,
    file: SweepFile | None,
    doing: str,
    *,
    on_gpu: bool,
    here: Task | None = None,
) -> Iterator[_Scorers]:
    """Yield what scores in this process where ``cluster`` is None, else on a group of it.

    Args:
        cluster: The cluster's address.
        file: Has the size of the group; not used in this process.
        doing: Shown where this process scores.
        on_gpu: Scores on GPUs.
        here: See `run.alone.scoring.scorer_on_cluster`.
    """
    if cluster is None:
        from droplora_sweep.export.scoring import scorer_here

        with own_console().status(doing) as shown:
            yield _Scorers(partial(scorer_here, on_gpu=on_gpu), shown.update)
        return
    from droplora_sweep.run.alone.scoring import scorer_on_cluster

    assert file is not None, "a group has a size"
    size = {} if on_gpu else {"gpus_per_worker": 0, "accelerator_type": None}
    group = file.sweep.group.model_copy(update=size)
    sweep = file.sweep.model_copy(update={"group": group})
    with cluster_work(file) as say:
        make = partial(scorer_on_cluster, sweep=sweep, address=cluster, say=say, here=here)
        yield _Scorers(make, say)


@contextlib.contextmanager
def cluster_work(file: SweepFile) -> Iterator[Callable[[str], None]]:
    """Yield what shows the user a line; what libraries say meanwhile stays only where it fails.

    What ends a job ends it like Ctrl-C: its group ends too.

    Raises:
        InputError: As it is raised inside, at its field's line.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with NoiseLog() as log:
        log.console.print(f"library logs: {log.path}")
        try:
            yield partial(log.console.print, highlight=False, markup=False)
        except InputError as error:
            raise file.locate(error) from error
    log.path.unlink()


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
