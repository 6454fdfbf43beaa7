"""Ray jobs that run a sweep's driver on a cluster's head node: submitted, followed, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from droplora_sweep import private_api
from droplora_sweep.errors import InputError, SweepError
from droplora_sweep.redaction import redact, secret_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from ray.job_submission import JobDetails, JobSubmissionClient

SWEEP = "droplora_sweep"
"""Key of a job's metadata with the sweep's name."""
STOP_SIGNAL = "SIGTERM"
"""Ends a driver in order."""
CLOSING_S = 30
"""Seconds for what a driver does after ``group.grace_s``: the ledger's end, and MLflow's."""
OUT_OF_REACH_S = 300.0
"""A head node that does not answer for so long is given up."""
WAIT_S = 2.0
"""Between two questions for a job's end."""
RUNNING = ("PENDING", "RUNNING")


@dataclass(frozen=True, kw_only=True)
class JobEnd:
    """The end of a job.

    Attributes:
        status: Ray's: ``SUCCEEDED``, ``FAILED`` or ``STOPPED``.
        code: The driver's exit code; None where Ray has none.
        message: Ray's words on it.
    """

    status: str
    code: int | None
    message: str


class Jobs:
    """The jobs of one cluster.

    Args:
        address: ``http://HEAD:8265``, the cluster's dashboard.

    Raises:
        InputError: Nothing answers there, it is no Ray, or it wants a token.
    """

    def __init__(self, address: str) -> None:
        from ray.job_submission import JobSubmissionClient

        private_api.quiet_job_client()
        self._address = address
        self._shown = 0
        try:
            self._client: JobSubmissionClient = JobSubmissionClient(address)
        except Exception as error:
            raise InputError.of("--address", _why_not(address, error)) from error

    def submit(
        self,
        *,
        sweep: str,
        entrypoint: Sequence[str],
        folder: Path,
        grace_s: float,
        environment: Mapping[str, str],
    ) -> str:
        """Upload a folder and start a job in it; return the job's id.

        The job's driver is on the head node: no resources are asked for, which would send it to any
        node that has them.

        Args:
            sweep: Name of the sweep.
            entrypoint: The command, one word each.
            folder: Folder that goes along.
            grace_s: Seconds that the driver may take for its end once it is told to stop.
            environment: Variables of all the job's processes, none of them secret.

        Raises:
            SweepError: The cluster refuses it.
        """
        job = f"{sweep}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
        stopping = {
            "RAY_JOB_STOP_SIGNAL": STOP_SIGNAL,
            "RAY_JOB_STOP_WAIT_TIME_S": str(int(grace_s) + CLOSING_S),
        }
        with self._named_faults():
            return self._client.submit_job(
                entrypoint=shlex.join(entrypoint),
                submission_id=job,
                runtime_env={
                    "working_dir": str(folder),
                    "env_vars": {**environment, **stopping},
                },
                metadata={SWEEP: sweep},
            )

    def of_sweep(self, sweep: str) -> list[JobDetails]:
        """Return a sweep's jobs, newest first."""
        with self._named_faults():
            jobs = self._client.list_jobs()
        mine = [job for job in jobs if (job.metadata or {}).get(SWEEP) == sweep]
        return sorted(mine, key=lambda job: -(job.start_time or 0))

    def running(self, sweep: str) -> str | None:
        """Return the id of a sweep's running job; None where none runs."""
        found = [job for job in self.of_sweep(sweep) if str(job.status.value) in RUNNING]
        return found[0].submission_id if found else None

    def newest(self, sweep: str) -> str:
        """Return the id of a sweep's newest job.

        Raises:
            InputError: It has none here.
        """
        found = self.of_sweep(sweep)
        if not found or found[0].submission_id is None:
            problem = f"must be the name of a sweep with a job at {self._address}, got {sweep}"
            raise InputError.of("NAME", problem)
        return found[0].submission_id

    def follow(
        self, job: str, show: Callable[[str], None], patience_s: float = OUT_OF_REACH_S
    ) -> JobEnd:
        """Show a job's output until it ends; a head node out of reach is waited for.

        Args:
            job: Id of the job.
            show: Takes pieces of the output as they come.
            patience_s: Seconds for which a head node may be out of reach.

        Raises:
            SweepError: The head node does not answer any more.
        """
        self._shown = 0
        lost_since_s: float | None = None
        while True:
            reason: Exception | None = None
            try:
                asyncio.run(self._tail(job, show))
            # The websocket breaks in as many ways as the library has errors.
            except Exception as error:  # noqa: BLE001
                reason = error
            try:
                end = self._end(job)
            except SweepError as error:
                now_s = time.monotonic()
                if lost_since_s is None:
                    lost_since_s = now_s
                    show(f"{error}; asking again for up to {patience_s:.0f} s\n")
                if now_s - lost_since_s > patience_s:
                    raise SweepError(
                        f"{self._address} has not answered for {patience_s:.0f} s: {error}; "
                        "the job goes on if its cluster does"
                    ) from reason
            else:
                lost_since_s = None
                if end is not None:
                    return end
            time.sleep(WAIT_S)

    def stop(self, job: str, within_s: float) -> JobEnd:
        """Tell a job's driver to stop, and wait for its end.

        Raises:
            SweepError: It does not end in time, or the cluster does not answer.
        """
        with self._named_faults():
            self._client.stop_job(job)
        end_by = time.monotonic() + within_s
        while (end := self._end(job)) is None:
            if time.monotonic() > end_by:
                raise SweepError(f"{job}: has not ended within {within_s:.0f} s; try again")
            time.sleep(WAIT_S)
        return end

    async def _tail(self, job: str, show: Callable[[str], None]) -> None:
        """Show a job's output, which comes from its beginning, but for what was shown before."""
        position = 0
        async for piece in self._client.tail_job_logs(job):
            new = piece[max(0, self._shown - position) :]
            position += len(piece)
            if new:
                show(new)
                self._shown = position

    def _end(self, job: str) -> JobEnd | None:
        with self._named_faults():
            info = self._client.get_job_info(job)
        if str(info.status.value) in RUNNING:
            return None
        return JobEnd(
            status=str(info.status.value),
            code=info.driver_exit_code,
            message=" ".join((info.message or "").split()),
        )

    @contextlib.contextmanager
    def _named_faults(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            raise SweepError(f"{self._address}: {_said(error)}") from error


def require_no_secret_variables(given: Sequence[str]) -> dict[str, str]:
    """Return variables for a job, each ``NAME=VALUE``.

    Raises:
        InputError: One is not of this form, or is or looks like a secret.
    """
    variables: dict[str, str] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or not name.isidentifier():
            raise InputError.of("--env", f"must be NAME=VALUE, got {redact(one)}")
        if secret_in(f"{name}={value}") is not None or secret_in(value) is not None:
            problem = (
                f"must not be a secret, got {name}: whoever sees the cluster's dashboard reads it; "
                "set it where Ray is started on the nodes"
            )
            raise InputError.of("--env", problem)
        variables[name] = value
    return variables


def _why_not(address: str, error: Exception) -> str:
    said = _said(error)
    if "401" in said or "403" in said or "uthenticat" in said:
        return (
            f"must let this machine in, got {address}, which asks for Ray's token: put the "
            "cluster's into ~/.ray/auth_token (mode 0600), or into the file that "
            "RAY_AUTH_TOKEN_PATH names, and set RAY_AUTH_MODE=token"
        )
    return (
        "must be the dashboard of a Ray cluster, http://HEAD:8265, or a tunnel to it, got "
        f"{address}: {said}"
    )


def _said(error: Exception) -> str:
    text = redact(str(error).strip()) or type(error).__name__
    if "ConnectionPool(" in text:
        return "nothing answers there"
    return " ".join(text.splitlines()[0].split())
