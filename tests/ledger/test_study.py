"""The study is kept by every storage that `search.study` may name; PostgreSQL by a real server."""

from __future__ import annotations

import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from optuna.distributions import FloatDistribution

from droplora_sweep.errors import SweepError
from droplora_sweep.ledger.study import open_study
from droplora_sweep.records.trial import SweepRecord
from tests.programs import find_program

if TYPE_CHECKING:
    from collections.abc import Iterator

RATE = {"adapter.pruning_rate": FloatDistribution(0.0, 0.5)}


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    """URL of a database of a server of its own, which is not run as root."""
    initdb, postgres = map(find_program, ("initdb", "postgres"))
    users = {user.pw_name for user in pwd.getpwall()}
    if initdb is None or postgres is None or "postgres" not in users:
        pytest.skip("there is no PostgreSQL server here")
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    shutil.chown(folder, "postgres")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    as_postgres = {"user": "postgres", "cwd": folder, "stdout": subprocess.DEVNULL}
    data = folder / "data"
    subprocess.run([initdb, "-D", data, "-A", "trust"], check=True, **as_postgres)
    command = [postgres, "-D", data, "-p", str(port), "-k", folder, "-c", "log_min_messages=fatal"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, **as_postgres) as server:
        url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        _wait_for(url)
        yield url
        # SIGTERM would wait for clients to leave.
        server.send_signal(signal.SIGINT)
    shutil.rmtree(folder)


def _wait_for(url: str) -> None:
    import psycopg

    deadline = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(url, connect_timeout=1).close()
            return
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, "PostgreSQL did not start"
            time.sleep(0.2)


@pytest.fixture(params=["sqlite", "journal", pytest.param("postgresql", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgresql"))
    return None if request.param == "sqlite" else f"journal://{tmp_path}/study.log"


def sweep(name: str, sweep_id: str) -> SweepRecord:
    return SweepRecord(
        sweep_id=sweep_id,
        name=name,
        spec={"search": {}},
        data_digests={},
        versions={},
        started=datetime.now(tz=UTC),
    )


def test_a_study_is_found_again_with_what_it_was_told(url: str | None, tmp_path: Path) -> None:
    path, own = tmp_path / "study.db", sweep("first", "0123456789abcdef")
    study = open_study(path, url, own)
    study.tell(study.ask(RATE), 0.5)
    left_running = study.ask(RATE)
    again = open_study(path, url, own)
    assert [trial.value for trial in again.trials] == [0.5, None]
    assert again.trials[1].params == left_running.params
    assert again.direction.name == "MAXIMIZE"


def test_sweeps_share_a_storage_without_meeting(url: str | None, tmp_path: Path) -> None:
    study = open_study(tmp_path / "one.db", url, sweep("same", "aaaaaaaaaaaaaaaa"))
    study.tell(study.ask(RATE), 0.5)
    other = open_study(tmp_path / "other.db", url, sweep("same", "bbbbbbbbbbbbbbbb"))
    assert other.trials == []


@pytest.mark.parametrize(
    "nowhere", ["postgresql://127.0.0.1:9/study", "journal:///dev/null/study.log"]
)
def test_a_storage_that_is_not_there_is_told_in_a_line(tmp_path: Path, nowhere: str) -> None:
    with pytest.raises(SweepError, match=f"^search.study: cannot open {nowhere}: [^\n]*$"):
        open_study(tmp_path / "study.db", nowhere, sweep("first", "0123456789abcdef"))
