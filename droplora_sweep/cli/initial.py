"""`init`: a few questions, or their options, and a search space as the answer."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from droplora_sweep.authoring.answer_kinds import AnswerKind
from droplora_sweep.authoring.drafting import Devices
from droplora_sweep.authoring.initial import Wishes, write_search_space
from droplora_sweep.authoring.own_data import BUILTIN, Hints, chat_use, look_at_data, slug
from droplora_sweep.errors import InputError
from droplora_sweep.plan.costs.work import GPUS, smallest_gpu
from droplora_sweep.plan.plan_costs import find_gpu
from droplora_sweep.present.values import command_text
from droplora_sweep.run.connection import local_node

from .completion import gpu_names
from .options import usable_path
from .printing import complain, own_console, print_lines

T = TypeVar("T", int, float, str)

HOURS_ON_CPU = 1.0
HOURS_ON_GPUS = 8.0


def init(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="The new search-space file; named by the data if not set.",
            callback=usable_path,
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="FOLDER|ID", help="Base model: builtin, folder or Hub id.")
    ] = None,
    revision: Annotated[
        str | None, typer.Option(metavar="COMMIT", help="Commit of a model of the Hub.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|FOLDER|URL", help="Data: builtin, or a file, folder or URL of records."
        ),
    ] = None,
    question: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column that asks, if not found by itself.")
    ] = None,
    answer: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Column that answers, if not found by itself."),
    ] = None,
    kind: Annotated[
        AnswerKind | None, typer.Option(help="Kind of the answers, if not found by itself.")
    ] = None,
    gpus: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="GPUs to use; those of this machine.")
    ] = None,
    gpu: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help=f"Kind of GPU: {', '.join(GPUS)}.", autocompletion=gpu_names
        ),
    ] = None,
    hours: Annotated[
        float | None,
        typer.Option(metavar="H", help="Hours that the sweep may take: 1 on CPU, 8 on GPUs."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the sweep; by the data if not set.")
    ] = None,
) -> None:
    """Write a search space for a model and data; what no option says is asked on a terminal."""
    console = own_console()
    node = local_node()
    model = _asked("Base model (builtin, a folder or a Hub id)", model, BUILTIN)
    data = _asked("Data (builtin, or a file, folder or URL of records)", data, BUILTIN)
    hints = Hints(question=question, answer=answer, kind=kind, chat=chat_use(model))
    found = look_at_data(data, hints)
    print_lines(console, [f"  {line}" for line in found.seen])
    if kind is None and found.is_own and _is_asked():
        [seen] = found.kinds.values()
        kinds = ", ".join(AnswerKind)
        chosen = _kind(_asked(f"Kind of the answers ({kinds})", None, seen.value))
        if chosen is not seen:
            found = look_at_data(data, replace(hints, kind=chosen))
    gpus = _asked("GPUs to use (0 trains on CPU)", gpus, int(node["GPU"]))
    if gpus:
        here = smallest_gpu([node])
        kinds = ", ".join(GPUS)
        gpu = _asked(f"Kind of GPU ({kinds})", gpu, here.name if here else "")
        if not gpu:
            raise InputError.of("--gpu", f"must be given with --gpus, one of {kinds}, got nothing")
    accelerator = find_gpu(gpu) if gpus else None
    hours = _asked("Hours that it may take", hours, HOURS_ON_GPUS if gpus else HOURS_ON_CPU)
    if hours <= 0:
        raise InputError.of("--hours", f"must be greater than 0, got {hours:g}")
    sweep = slug(name or found.name)
    file = file or Path(_asked("File to write", None, f"{sweep}.yaml"))
    devices = Devices(
        num_gpus=gpus,
        gpu=None if accelerator is None else accelerator.name,
        num_cpus=int(node["CPU"]),
        hours=hours,
    )
    wishes = Wishes(model=model, revision=revision, data=found, devices=devices, name=sweep)
    draft = write_search_space(wishes, file)
    effort = draft.effort
    print_lines(
        console,
        [
            f"{file}: {effort.num_trials} trials, then at most {effort.max_runs} runs that decide",
            f"next: {command_text('plan', str(file))}",
        ],
    )


def _is_asked() -> bool:
    """Return True where a user can answer."""
    return sys.stdin.isatty()


def _asked(question: str, given: T | None, default: T) -> T:
    """Return what an option gives, else the answer to a question, else its default."""
    if given is not None or not _is_asked():
        return default if given is None else given
    answered: T = typer.prompt(question, default=default, type=type(default))
    return answered


def _kind(text: str) -> AnswerKind:
    """Return the kind of that name, and ask again for another one."""
    while text not in list(AnswerKind):
        complain(f"must be one of {', '.join(AnswerKind)}, got {text}")
        text = typer.prompt("Kind of the answers")
    return AnswerKind(text)
