"""Before a sweep: check a file, say what it would take, describe the format to editors."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer
import yaml

from droplora_sweep.errors import InputError
from droplora_sweep.plan.advice.advice import advice_on
from droplora_sweep.plan.chat import asks_by_chat
from droplora_sweep.plan.costs.work import ASSUMED_UTILISATION
from droplora_sweep.plan.micro_batch import as_planned, with_micro_batch
from droplora_sweep.plan.plan import make_plan
from droplora_sweep.plan.plan_costs import Assumed, find_gpu
from droplora_sweep.plan.room import (
    NO_GPUS_HERE,
    check_capacity,
    lacks_gpus_at_all,
    waiting_note,
)
from droplora_sweep.plan.survey import check_sandbox, prepare, survey
from droplora_sweep.present.contents.plan import calibration_lines, knob_lines, plan_table
from droplora_sweep.present.contents.plan_summary import plan_json, summary_lines
from droplora_sweep.present.terminal.noise import NoiseLog
from droplora_sweep.present.terminal.tables import terminal_table
from droplora_sweep.run.connection import nodes_at
from droplora_sweep.spec import file_notes, load_sweep_file
from droplora_sweep.spec.loader import json_schema

from .completion import gpu_names
from .options import Address, File, Overrides
from .printing import own_console, print_lines

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from droplora_sweep.run.calibration import Calibration
    from droplora_sweep.spec import SweepFile


def validate(file: File, overrides: Overrides = None) -> None:
    """Check a file, its model and its data; name every fault, and what is odd."""
    found = survey(load_sweep_file(file, overrides or (), needs_data=False))
    console = own_console()
    console.print(f"{file}: valid", highlight=False)
    notes = () if found.model is None else found.model.notes
    notes = (
        *file_notes(found.sweep),
        *notes,
        *(found.data_notes if asks_by_chat(found.sweep) else ()),
    )
    print_lines(console, [f"note: {line}" for line in notes])
    print_lines(console, [f"advice: {one.text}" for one in advice_on(found)])
    print_lines(console, [f"not checked: {line}" for line in found.unchecked])


def plan(
    file: File,
    overrides: Overrides = None,
    address: Address = "auto",
    gpu: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The GPUs, e.g. A100-80G; the cluster's if not set.",
            autocompletion=gpu_names,
        ),
    ] = None,
    gpu_memory: Annotated[
        float | None, typer.Option(metavar="GB", min=1, help="Memory of a GPU, 10^9 bytes each.")
    ] = None,
    utilisation: Annotated[
        float,
        typer.Option(
            min=0.01, max=1, help="Share of a GPU's peak that training is taken to reach."
        ),
    ] = ASSUMED_UTILISATION,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Time steps and an evaluation on one group first.")
    ] = False,
    resolved: Annotated[
        bool,
        typer.Option("--resolved", help="Print the whole file instead, with every default."),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print plan and resolved file as JSON.")
    ] = False,
) -> None:
    """Show what a sweep would run, what it costs and what does not fit; start no sweep."""
    if calibrate and (resolved or as_json):
        option = "--resolved" if resolved else "--json"
        raise InputError.of(option, "must be given without --calibrate, which prints as it goes")
    memory_bytes = None if gpu_memory is None else round(gpu_memory * 1e9)
    assumed = Assumed(find_gpu(gpu), memory_bytes, utilisation)
    loaded = load_sweep_file(file, overrides or (), needs_data=calibrate)
    found = survey(loaded)
    nodes, may_grow = nodes_at(address)
    awaited = waiting_note(found.sweep.group, nodes) if may_grow else None
    if awaited is None and (calibrate or not lacks_gpus_at_all(found.sweep.group, nodes)):
        check_capacity(found.file, nodes)
    spec = found.sweep.model_dump(mode="json")
    if resolved:
        print(yaml.safe_dump(spec, sort_keys=False), end="")  # noqa: T201 - YAML for other programs
        return
    found, remarks = as_planned(found, nodes, assumed)
    made = make_plan(found, nodes, assumed)
    made = replace(made, notes=(*made.notes, *remarks))
    if awaited is not None:
        unchecked = [one for one in made.unchecked if one != NO_GPUS_HERE]
        made = replace(made, unchecked=(*unchecked, awaited))
    table = plan_table(found, made, utilisation)
    if as_json:
        content = {**plan_json(table, made), "resolved": spec}
        print(json.dumps(content, indent=2, allow_nan=False))  # noqa: T201 - plain JSON
        return
    console = own_console()
    print_lines(console, summary_lines(found, made, utilisation))
    console.print(terminal_table(table, has_header=False))
    if calibrate:
        measured = _calibrate(loaded, address, nodes, assumed)
        knobs = knob_lines(found.sweep, made, measured.pace)
        print_lines(console, (*calibration_lines(found.sweep, made, measured), *knobs))


def _calibrate(
    file: SweepFile, address: str, nodes: Sequence[Mapping[str, float]], assumed: Assumed
) -> Calibration:
    """Time one group; the log of what it says stays only where it fails."""
    from droplora_sweep.run.calibration import calibrate

    prepared = with_micro_batch(prepare(file), nodes, assumed)
    check_sandbox(file, prepared.task)
    # What ends a job ends it like Ctrl-C: the group, its Ray and its folder go too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with NoiseLog() as log:
        log.console.print(f"library logs: {log.path}")
        measured = calibrate(prepared, address, log.console.print)
    log.path.unlink()
    return measured


def schema() -> None:
    """Print the JSON Schema of search-space files, for editors."""
    print(json.dumps(json_schema(), indent=2))  # noqa: T201 - plain JSON for other programs
