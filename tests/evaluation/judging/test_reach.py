"""The one short request that tells whether a judge can be asked."""

from __future__ import annotations

import pytest

from droplora_sweep.errors import InputError
from droplora_sweep.evaluation.judging.reach import problem_of_endpoint
from tests.raylets import free_ports

from .conftest import KEY, Answer, Endpoint, MakeSpec


def test_one_that_answers_is_asked_once_with_its_key(endpoint: Endpoint, spec: MakeSpec) -> None:
    assert problem_of_endpoint(spec()) is None
    [request] = endpoint.requests
    assert request["max_tokens"] <= 16
    assert endpoint.headers[0]["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (Answer(status=401), "HTTP 401"),
        (Answer(status=503), "HTTP 503"),
        (Answer(body=b"<html>"), "the reply must be JSON"),
        (Answer(delay_s=3.0), "no reply in 1 s"),
    ],
)
def test_one_that_cannot_be_used(
    endpoint: Endpoint, spec: MakeSpec, answer: Answer, problem: str
) -> None:
    endpoint.script = [answer]
    found = problem_of_endpoint(spec(timeout_s=1.0))
    assert found is not None
    assert found.startswith(problem)


def test_one_that_is_busy_is_there(endpoint: Endpoint, spec: MakeSpec) -> None:
    endpoint.script = [Answer(status=429)]
    assert problem_of_endpoint(spec()) is None


def test_one_that_is_not_there(spec: MakeSpec) -> None:
    [port] = free_ports(1)
    found = problem_of_endpoint(spec(url=f"http://127.0.0.1:{port}/v1"))
    assert found is not None
    assert found.startswith("no connection")


def test_a_key_that_is_missing(spec: MakeSpec) -> None:
    with pytest.raises(InputError, match="must hold the judge's API key"):
        problem_of_endpoint(spec(key_env="NO_SUCH_KEY_HERE"))
