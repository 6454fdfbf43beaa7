"""Addresses at which no Ray answers: one line says which, where it was named, what to do."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from droplora_sweep.errors import SweepError
from droplora_sweep.run.connection import RayAddress, require_answer, resolve_address

if TYPE_CHECKING:
    from collections.abc import Callable

QUICKSTART = str(Path(__file__).parents[2] / "search_spaces" / "quickstart.yaml")


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@pytest.mark.parametrize(
    ("given", "variable", "address", "source", "shown"),
    [
        ("auto", None, "local", "--address", "local"),
        ("auto", "", "local", "--address", "local"),
        ("auto", "h:1", "h:1", "RAY_ADDRESS", "h:1, from RAY_ADDRESS"),
        ("local", "h:1", "local", "--address", "local"),
        ("g:2", "h:1", "g:2", "--address", "g:2"),
    ],
)
def test_an_address_says_where_it_came_from(
    monkeypatch: pytest.MonkeyPatch,
    given: str,
    variable: str | None,
    address: str,
    source: str,
    shown: str,
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if variable is not None:
        monkeypatch.setenv("RAY_ADDRESS", variable)
    found = resolve_address(given)
    assert (found.address, found.source, str(found)) == (address, source, shown)
    assert resolve_address(found) is found


def test_a_dead_address_is_told_at_once(
    call: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = f"127.0.0.1:{closed_port()}"
    monkeypatch.setenv("RAY_ADDRESS", dead)
    begun = time.monotonic()
    code, _, complaints = call("plan", QUICKSTART)
    assert time.monotonic() - begun < 60
    assert code == 1
    assert complaints == (
        f"RAY_ADDRESS: no Ray cluster answers at {dead}: [Errno 111] Connection refused; unset "
        "RAY_ADDRESS, or --address local to run on this machine\n"
    )


def test_a_host_that_there_is_not_is_told() -> None:
    with pytest.raises(
        SweepError, match=r"^--address: no Ray cluster answers at none\.invalid:1: "
    ):
        require_answer(RayAddress("none.invalid:1"))


@pytest.mark.slow
def test_what_listens_and_does_not_answer_is_given_up() -> None:
    """A head node whose Ray is frozen takes connections, and says nothing."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        begun = time.monotonic()
        with pytest.raises(SweepError, match="what listens there does not answer as Ray does"):
            require_answer(RayAddress(f"127.0.0.1:{silent.getsockname()[1]}"))
        assert time.monotonic() - begun < 120


@pytest.mark.parametrize("command", ["resume"])
def test_a_client_address_in_the_environment_is_seen(
    call: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    assert call(command, "any") == (
        2,
        "",
        "RAY_ADDRESS: must reach the storage directly, got ray://head:10001; submit it as a Ray "
        "job instead\n",
    )
