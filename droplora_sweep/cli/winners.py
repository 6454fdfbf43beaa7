"""Results taken out of a sweep: the best settings, registered and exported adapters, reruns."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from droplora_sweep.errors import InputError, SweepError
from droplora_sweep.ledger.reader import Ledger, find_trial, named_trial, recorded_file
from droplora_sweep.plan.survey import check_sandbox, prepare
from droplora_sweep.present.terminal.noise import NoiseLog

from .completion import trial_ids
from .exit_codes import EXIT_PARTIAL
from .options import (
    DEFAULT_STORAGE,
    Address,
    Cluster,
    MlflowServer,
    Name,
    Storage,
    Trial,
    direct_address,
    usable_path,
)
from .printing import own_console, print_closing, print_decisions, print_lines
from .scoring import cluster_work

if TYPE_CHECKING:
    from droplora_sweep.analysis.winners import Winner

Task = Annotated[
    str | None, typer.Option(help="One benchmark, or mean; all of them if not set.", metavar="TASK")
]


def best(
    name: Name,
    task: Task = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for other programs.")] = False,
    storage: Storage = DEFAULT_STORAGE,
) -> None:
    """Show the best pruning rate per benchmark, how sure that is, and methods side by side."""
    from droplora_sweep.analysis.exploration import marginal_text
    from droplora_sweep.analysis.winners import winner_text, winners_json
    from droplora_sweep.present.contents.facts import facts_of
    from droplora_sweep.present.contents.results import result_tables
    from droplora_sweep.present.contents.table import table_json

    facts = facts_of(Ledger.open(storage, name))
    found = _of_task(facts.winners, task)
    if as_json:
        settings = {trial.trial_id: trial.params for trial in facts.record.trials}
        references = facts.references.get(facts.decided_on, ())
        content = winners_json(name, facts.protocol, found, settings, references)
        content["tables"] = [table_json(table) for table in result_tables(facts)]
        print(json.dumps(content, indent=2, allow_nan=False))  # noqa: T201 - plain JSON
        return
    console = own_console()
    if task is not None:
        print_lines(console, map(winner_text, found))
        return
    print_decisions(console, facts)
    withheld = {winner.benchmark for winner in found if winner.reasons}
    shown = (one for one in facts.marginals if one.points and one.benchmark not in withheld)
    print_lines(console, map(marginal_text, shown))
    print_closing(console, facts)


def register(
    name: Name,
    task: Task = None,
    model_name: Annotated[
        str | None, typer.Option("--model", help="The registered model; NAME if not set.")
    ] = None,
    mlflow_uri: MlflowServer = None,
    storage: Storage = DEFAULT_STORAGE,
) -> None:
    """Register the best adapters as MLflow model versions, with the alias best-TASK."""
    from droplora_sweep.analysis.winners import winner_tags

    ledger = Ledger.open(storage, name)
    chosen = _winners(ledger, task)
    found = [
        (winner, find_trial(ledger, winner.trial_id))
        for winner in chosen
        if winner.trial_id is not None
    ]
    if not found:
        why = "; ".join(f"{winner.benchmark}: {winner.conclusion}" for winner in chosen)
        raise SweepError(f"{name}: has no adapter to register yet: {why}")
    # mlflow and torch take seconds to import, which a wrong name does not cost.
    from droplora_sweep.mlflow_view.registry import alias_for, register

    uri = mlflow_uri or ledger.record.spec["tracking"]["mlflow_uri"]
    console = own_console()
    for winner, trial in found:
        with console.status(f"registering {trial.trial_id}"):
            made = register(
                ledger,
                trial,
                model_name or name,
                alias_for(winner.benchmark),
                uri,
                winner_tags(winner),
            )
        how = "" if made.is_new else ", which was there already"
        line = f"{made.uri}: version {made.version}{how}, {trial.trial_id} ({winner.statement})"
        print_lines(console, [line])


def export(
    name: Name,
    output: Annotated[
        Path, typer.Option(help="The new folder.", callback=usable_path, show_default=False)
    ],
    trial: Annotated[
        str | None,
        typer.Argument(
            help="A trial's id or its start; else give --task.",
            show_default=False,
            autocompletion=trial_ids,
        ),
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="The best trial of a benchmark, or of mean.", metavar="TASK")
    ] = None,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="adapter|merged|gguf",
            help="An adapter folder, the merged model, or what llama.cpp's converter reads.",
        ),
    ] = "adapter",
    address: Cluster = None,
    storage: Storage = DEFAULT_STORAGE,
) -> None:
    """Write a trial's adapter to a folder of its own, with a model card."""
    if (trial is None) == (task is None):
        problem = "must be given, or else --task, and not both"
        raise InputError.of("TRIAL", problem)
    forms = ("adapter", "merged", "gguf")
    if form not in forms:
        raise InputError.of("--format", f"must be one of {', '.join(forms)}, got {form}")
    cluster = None if address is None else direct_address(address)
    if cluster is not None and form != "merged":
        problem = f"must be given with --format merged, which loads the model, got {form}"
        raise InputError.of("--address", problem)
    ledger = Ledger.open(storage, name)
    if trial is None:
        [winner] = _winners(ledger, task)
        if winner.trial_id is None:
            raise SweepError(f"{name}: has no trial to export for {task}: {winner.conclusion}")
        trial = winner.trial_id
    found = find_trial(ledger, trial)
    # torch takes seconds to import, which a wrong name does not cost.
    from droplora_sweep.export.exporting import Format
    from droplora_sweep.export.exporting import export as write

    console = own_console()
    if cluster is None:
        with console.status(f"exporting {found.trial_id}"):
            write(ledger, found, output, Format(form))
    else:
        from droplora_sweep.run.alone.merging import merge_on_cluster

        file = recorded_file(ledger.record, storage)
        with cluster_work(file) as say:
            merge = partial(merge_on_cluster, sweep=file.sweep, address=cluster, say=say)
            write(ledger, found, output, Format(form), merge)
    console.print(f"{found.trial_id}: {form} in {output}", highlight=False, soft_wrap=True)
    if (fidelity := ledger.record.fidelity_of(found)) is not None:
        line = f"note: {found.trial_id} is of the search, which trained on less ({fidelity})"
        print_lines(console, [f"{line}; confirmed runs are trained in full"])


def rerun(
    name: Name,
    trial: Trial,
    output: Annotated[
        Path | None,
        typer.Option(help="Keep the rerun's adapter and results here.", callback=usable_path),
    ] = None,
    address: Address = "auto",
    storage: Storage = DEFAULT_STORAGE,
) -> None:
    """Train a trial again as it was, and say whether it came out as before."""
    ledger = Ledger.open(storage, name)
    found = named_trial(ledger, trial)
    prepared = prepare(recorded_file(ledger.record, storage))
    check_sandbox(prepared.file, prepared.task)
    # torch takes seconds to import, which a wrong name does not cost.
    from droplora_sweep.run.rerunning import rerun

    with NoiseLog() as log:
        say = partial(log.console.print, highlight=False, markup=False)
        result = rerun(prepared, ledger, found, address=address, output=output, say=say)
    console = own_console()
    print_lines(console, (f"{found.trial_id}: {result.outcome.value}", *result.details))
    for line in result.circumstances:
        console.print(f"differs: {line}", highlight=False, soft_wrap=True)
    if not result.is_success:
        raise typer.Exit(EXIT_PARTIAL)


def _winners(ledger: Ledger, task: str | None) -> tuple[Winner, ...]:
    """The sweep's winners, or that of one benchmark.

    Raises:
        InputError: The sweep has no such benchmark.
        SweepError: No trial is complete.
    """
    from droplora_sweep.run.deciding import winners_of

    return _of_task(winners_of(ledger), task)


def _of_task(found: tuple[Winner, ...], task: str | None) -> tuple[Winner, ...]:
    """Return the winner of one benchmark, or all.

    Raises:
        InputError: The sweep has no such benchmark.
    """
    if task is None:
        return found
    chosen = tuple(winner for winner in found if winner.benchmark == task)
    if not chosen:
        known = ", ".join(winner.benchmark for winner in found)
        raise InputError.of("--task", f"must be one of {known}, got {task}")
    return chosen
