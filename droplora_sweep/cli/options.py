"""Arguments and options that several commands share, and exit codes."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from droplora_sweep.errors import InputError
from droplora_sweep.run.connection import RayAddress, resolve_address
from droplora_sweep.run.remote import REMOTE
from droplora_sweep.spec import require_no_secret, require_tracking_uri
from droplora_sweep.storage.mirror import local_storage

from . import completion


class Split(StrEnum):
    """Examples to score on."""

    VALIDATION = "validation"
    TEST = "test"


File = Annotated[Path, typer.Argument(help="A search-space file.", show_default=False)]
OptionalFile = Annotated[
    Path | None, typer.Argument(help="A search-space file.", show_default=False)
]
Name = Annotated[
    str,
    typer.Argument(
        help="The sweep's name.", show_default=False, autocompletion=completion.sweep_names
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Replace a field, e.g. adapter.rank=8."),
]


def storage_folder(given: str | Path) -> Path:
    """The folder to work in; an option that is not given arrives as the path it defaults to."""
    return local_storage(str(given))


def usable_path(option: typer.CallbackParam, path: Path | None) -> Path | None:
    """A path that the file system can be asked about.

    Raises:
        InputError: It cannot, because a name in it is too long for example.
    """
    try:
        if path is not None:
            path.exists()
    except OSError as error:
        problem = f"must be a usable path: {error.strerror}"
        raise InputError.of(option.opts[0], problem) from error
    return path


def tracking_server(option: typer.CallbackParam, uri: str | None) -> str | None:
    """Return an MLflow server's address, which holds no secret.

    Raises:
        InputError: It holds one, or is no address of a server.
    """
    require_no_secret(option.opts[0], uri or "")
    require_tracking_uri(option.opts[0], uri)
    return uri


MlflowServer = Annotated[
    str | None,
    typer.Option(
        "--mlflow-uri",
        metavar="URI",
        callback=tracking_server,
        help="MLflow server; the sweep's own if not set.",
    ),
]
Trial = Annotated[
    str,
    typer.Argument(
        help="A trial's id or its start, e.g. t0003.",
        show_default=False,
        autocompletion=completion.trial_ids,
    ),
]
FailedTrials = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[TRIAL]...",
        help="Ids of failed trials or their starts; all that failed if not set.",
        show_default=False,
        autocompletion=completion.trial_ids,
    ),
]
Storage = Annotated[
    Path,
    typer.Option(
        parser=storage_folder,
        metavar="FOLDER|URL",
        callback=usable_path,
        help="Folder or URL that holds the sweeps.",
    ),
]
Address = Annotated[
    str, typer.Option(help="auto (RAY_ADDRESS, else local), local, or a Ray cluster's address.")
]
Cluster = Annotated[
    str | None,
    typer.Option(
        "--address",
        help="Work on a group of this Ray cluster (its address, or auto), not in this process.",
    ),
]
Fork = Annotated[
    str | None,
    typer.Option(metavar="NEWNAME", help="Start a new sweep from what this one has found."),
]
AllowCode = Annotated[
    bool,
    typer.Option(
        "--allow-unsandboxed-code",
        help="Run code answers even where there is no sandbox (bubblewrap) for them.",
    ),
]
DEFAULT_STORAGE = Path("results")


def unsandboxed(is_allowed: bool) -> list[str]:
    return ["evaluation.allow_unsandboxed_code=true"] if is_allowed else []


def direct_address(address: str) -> RayAddress:
    """Return a cluster's address, from which the sweep's storage can be reached.

    Raises:
        InputError: It is one that sweeps are submitted to.
    """
    cluster = resolve_address(address)
    if cluster.address.startswith(REMOTE):
        problem = "must reach the storage directly, got "
        problem += f"{cluster.address}; submit it as a Ray job instead"
        raise InputError.of(cluster.source, problem)
    return cluster
