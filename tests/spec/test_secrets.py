"""A secret in a sweep's file or in an override is refused, and not shown in doing so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from droplora_sweep.errors import InputError
from droplora_sweep.spec import require_no_secret

if TYPE_CHECKING:
    from collections.abc import Callable

    Refusal = Callable[..., list[str]]

KEPT = "what is given here is kept in storage and in MLflow; give it in the environment"
PASSWORD = f"must not hold a secret, got a URL with a password: {KEPT}"
MLFLOW = (
    "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN; of data the "
    "file ~/.netrc"
)


def test_a_password_in_a_url_is_refused_with_where_to_give_it(refusal: Refusal) -> None:
    text = "name: q\ntracking: {mlflow_uri: 'http://ann:tulip@host:5000'}\n"
    assert refusal(text) == [f"s.yaml:2: tracking.mlflow_uri: {PASSWORD} ({MLFLOW})"]
    text = "name: q\nstorage: 's3://AKEY:tulip@bucket/sweeps'\n"
    assert refusal(text) == [
        f"s.yaml:2: storage: {PASSWORD} "
        "(AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the file ~/.aws/credentials)"
    ]
    text = "name: q\ntracking: {mlflow_uri: 'postgresql+psycopg2://ann:tulip@host/mlflow'}\n"
    assert refusal(text) == [
        f"s.yaml:2: tracking.mlflow_uri: {PASSWORD} (PGPASSWORD, or the file ~/.pgpass)"
    ]


def test_an_overrides_place_does_not_show_it_either(refusal: Refusal) -> None:
    assert refusal("name: q\n", "tracking.mlflow_uri=http://ann:tulip@host") == [
        f"--set tracking.mlflow_uri=http://ann:[redacted]@host: tracking.mlflow_uri: {PASSWORD} "
        f"({MLFLOW})"
    ]


def test_a_key_is_refused_in_any_field(refusal: Refusal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "tulip-in-march")
    where = f"{KEPT} (where its client looks for it)"
    assert refusal("name: q\nmodel: {path: 'org/name?token=tulip-in-march'}\n") == [
        "s.yaml:2: model.path: must not hold a secret, got the value of the environment "
        f"variable HF_TOKEN: {where}"
    ]
    assert refusal("name: q\ntask: {benchmarks: [hf_abcdefghijklmnopqrstuv]}\n") == [
        f"s.yaml:2: task.benchmarks[0]: must not hold a secret, got an API key: {where}"
    ]


def test_an_options_value_is_refused_alike() -> None:
    require_no_secret("--mlflow-uri", "http://host:5000")
    with pytest.raises(InputError, match="--mlflow-uri: must not hold a secret, got a URL with a "):
        require_no_secret("--mlflow-uri", "http://ann:tulip@host:5000")
