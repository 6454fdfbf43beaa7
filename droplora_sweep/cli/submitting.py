"""Submit a sweep to a cluster elsewhere, and follow, stop and resume it from here."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from droplora_sweep.errors import InputError
from droplora_sweep.plan.survey import survey
from droplora_sweep.spec import GroupSpec, load_sweep_file
from droplora_sweep.submission.jobs import CLOSING_S, Jobs, require_no_secret_variables
from droplora_sweep.submission.packing import megabytes, pack, pack_package, require_lasting
from droplora_sweep.submission.tunnels import tunnel_to

from .exit_codes import EXIT_CTRL_C, EXIT_FAILED, EXIT_INTERRUPTED
from .options import AllowCode, Overrides, unsandboxed
from .printing import complain, own_console, print_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from droplora_sweep.submission.jobs import JobEnd
    from droplora_sweep.submission.packing import Packed

PYTHON = ("python", "-m", "droplora_sweep")
"""The first Python on the head node's path, as of every Ray job."""

Dashboard = Annotated[
    str | None,
    typer.Option(
        envvar="RAY_API_SERVER_ADDRESS",
        metavar="URL",
        help="The cluster's dashboard, e.g. http://HEAD:8265.",
    ),
]
Launched = Annotated[
    Path | None,
    typer.Option("--cluster", metavar="FILE", help="Of a cluster that `ray up FILE` started."),
]
Variables = Annotated[
    list[str] | None,
    typer.Option("--env", metavar="NAME=VALUE", help="Set a variable of the job; no secret."),
]
Detach = Annotated[
    bool, typer.Option("--detach", help="Leave once it is submitted; `job follow` shows it.")
]
SweepName = Annotated[str, typer.Argument(help="The sweep's name.", show_default=False)]

job = typer.Typer(help="Follow, stop and resume a sweep that was submitted.", no_args_is_help=True)


def submit(
    file: Annotated[Path, typer.Argument(help="A search-space file.", show_default=False)],
    overrides: Overrides = None,
    name: Annotated[str | None, typer.Option(help="Run it under another name.")] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER|URL",
            help="Keep the sweep there, on the head node or in an object store; in the file's "
            "`storage` if not set.",
        ),
    ] = None,
    address: Dashboard = None,
    cluster: Launched = None,
    ship: Annotated[
        bool,
        typer.Option("--ship", help="Take along data, models and code of relative paths."),
    ] = False,
    env: Variables = None,
    detach: Detach = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be sent, and send nothing.")
    ] = False,
    allow_code: AllowCode = False,
) -> None:
    """Run a sweep on a cluster elsewhere, and follow it; Ctrl-C here leaves it running there."""
    settings = [*(overrides or ()), *unsandboxed(allow_code)]
    settings += [] if name is None else [f"name={name}"]
    variables = require_no_secret_variables(env or ())
    loaded = load_sweep_file(file, settings, check_folders=False)
    sweep, place = loaded.sweep, storage or loaded.sweep.storage
    require_lasting(place)
    with tempfile.TemporaryDirectory(prefix="droplora-job-") as folder:
        packed = pack(loaded, file.name, Path(folder), takes_inputs=ship)
        if not packed.expected:
            # All that it reads is here, so that its faults need not wait for the cluster.
            survey(loaded)
        _say(*_contents(packed))
        if dry_run:
            return
        with _reached(address, cluster) as jobs:
            running = jobs.running(sweep.name)
            if running is not None:
                _say(f"{sweep.name}: runs already, as job {running}")
            else:
                running = jobs.submit(
                    sweep=sweep.name,
                    entrypoint=[*PYTHON, "run", packed.file, "--storage", place],
                    folder=Path(folder),
                    grace_s=sweep.group.grace_s,
                    environment=variables,
                )
            _follow_unless(detach, jobs, sweep.name, running)


@job.command()
def follow(name: SweepName, address: Dashboard = None, cluster: Launched = None) -> None:
    """Show the output of a sweep's newest job from its beginning, until it ends."""
    with _reached(address, cluster) as jobs:
        _follow(jobs, name, jobs.newest(name))


@job.command()
def stop(name: SweepName, address: Dashboard = None, cluster: Launched = None) -> None:
    """Have a sweep's job save its trials and end; it can be resumed."""
    with _reached(address, cluster) as jobs:
        running = jobs.running(name)
        if running is None:
            raise InputError.of("NAME", f"must be the name of a sweep with a running job: {name}")
        _say(f"{running}: told to save its trials and stop")
        end = jobs.stop(running, GroupSpec().grace_s + 2 * CLOSING_S)
        _say(f"{running}: {end.status.lower()}")


@job.command()
def resume(
    name: SweepName,
    storage: Annotated[
        str,
        typer.Option(metavar="FOLDER|URL", help="As it was submitted with.", show_default=False),
    ],
    address: Dashboard = None,
    cluster: Launched = None,
    env: Variables = None,
    detach: Detach = False,
) -> None:
    """Go on with a sweep from its storage alone, as a new job, on this cluster or another."""
    require_lasting(storage)
    variables = require_no_secret_variables(env or ())
    with (
        tempfile.TemporaryDirectory(prefix="droplora-job-") as folder,
        _reached(address, cluster) as jobs,
    ):
        running = jobs.running(name)
        if running is not None:
            raise InputError.of("NAME", f"must have no running job, got {name}, which is {running}")
        pack_package(Path(folder))
        running = jobs.submit(
            sweep=name,
            entrypoint=[*PYTHON, "resume", name, "--storage", storage],
            folder=Path(folder),
            grace_s=GroupSpec().grace_s,
            environment=variables,
        )
        _follow_unless(detach, jobs, name, running)


def _contents(packed: Packed) -> Iterator[str]:
    """Lines on what goes along, and on what has to be there."""
    yield f"sends {megabytes(packed.size_bytes)}: {packed.file}, this package"
    for one in packed.inputs:
        yield f"  and {one.local.field}: {one.local.given} ({megabytes(one.size_bytes)})"
    for path in packed.expected:
        yield f"expects on every node, and looks there first: {path.field}: {path.given}"


@contextlib.contextmanager
def _reached(address: str | None, cluster: Path | None) -> Iterator[Jobs]:
    """Reach a cluster by its dashboard's address, or through a tunnel.

    Raises:
        InputError: Neither is given, or both, or nothing answers.
    """
    if cluster is not None:
        with tunnel_to(cluster) as url:
            yield Jobs(url)
        return
    if address is None:
        raise InputError.of("--address", "must be given, or --cluster FILE: where to submit it")
    yield Jobs(address)


def _follow_unless(detach: bool, jobs: Jobs, sweep: str, running: str) -> None:
    _say(f"job {running}; `droplora-sweep job follow {sweep}` and `job stop {sweep}` find it")
    if not detach:
        _follow(jobs, sweep, running)


def _follow(jobs: Jobs, sweep: str, running: str) -> None:
    """Show a job to its end, which gives the exit code."""
    try:
        end = jobs.follow(running, _show)
    except KeyboardInterrupt as error:
        _say(f"\n{running}: runs on; `droplora-sweep job follow {sweep}` shows it again")
        raise typer.Exit(EXIT_CTRL_C) from error
    raise typer.Exit(_exit_code(end, sweep))


def _exit_code(end: JobEnd, sweep: str) -> int:
    if end.status == "SUCCEEDED":
        return 0
    if end.status == "STOPPED":
        _say(f"{sweep}: stopped; submit it again, or `droplora-sweep job resume {sweep}`")
        return EXIT_INTERRUPTED
    if end.code is None:
        complain(f"the job failed: {end.message}")
        return EXIT_FAILED
    return end.code


def _show(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _say(*lines: str) -> None:
    print_lines(own_console(), lines)
