"""A secret is known by its form or by the variable that holds it, and is not shown."""

from __future__ import annotations

import pytest

from droplora_sweep.redaction import redact, secret_in

SECRETS = {
    "mlflow": ("http://ann:CANARY@host:5000/api", "a URL with a password"),
    "password_with_signs": (
        "postgresql+psycopg2://ann:CANARY%2F@x@host/db",
        "a URL with a password",
    ),
    "s3": ("s3://AKEY:CANARY@bucket/sweeps", "a URL with a password"),
    "query": ("https://host/judge?model=a&api_key=CANARY", "a URL with a key"),
    "signed": ("https://host/data.json?X-Amz-Signature=CANARY&x=1", "a URL with a key"),
    "basic": ("Authorization: Basic CANARYCANARY", "an API key"),
    "bearer": ("sent 'bearer CANARYCANARYCANARY' to host", "an API key"),
    "assignment": ("OPENAI_API_KEY=CANARYCANARY", "an API key"),
    "json": ('{"hf_token": "CANARYCANARY"}', "an API key"),
    "hugging_face": ("login failed for hf_CANARYcanaryCANARYcanary", "an API key"),
    "openai": ("got sk-proj-CANARYcanaryCANARYcanary", "an API key"),
    "aws": ("AKIACANARYCANARYCANA is not known", "an API key"),
}


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_known_by_its_form(name: str) -> None:
    text, kind = SECRETS[name]
    assert secret_in(text, {}) == kind
    assert "CANARY" not in redact(text, {})
    assert "[redacted]" in redact(text, {})


HARMLESS = (
    "ssh://git@host/repository",
    "postgresql://ann@host/study",
    "http://127.0.0.1:5000/#/experiments?workflowType=machine_learning",
    "adapter.mask: token, max_new_tokens=64, tokens_per_second: 12345678",
    "tokenizer.pad_token = '<|endoftext|>'",
    "training.learning_rate: must be a number, got 'fast'",
)


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_looks_like_one_stays(text: str) -> None:
    assert redact(text, {}) == text
    assert secret_in(text, {}) is None


@pytest.mark.parametrize(
    "variable", ["HF_TOKEN", "WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD", "my_password"]
)
def test_the_value_of_a_secret_variable_is_one_wherever_it_stands(variable: str) -> None:
    environment = {variable: "tulip-in-march", "HOME": "/home/ann"}
    assert redact("refused tulip-in-march of /home/ann", environment) == (
        "refused [redacted] of /home/ann"
    )
    assert secret_in("tulip-in-march", environment) == (
        f"the value of the environment variable {variable}"
    )


def test_the_password_of_a_variables_url_is_one_too() -> None:
    environment = {"DATABASE_URL": "postgresql://ann:tulip-in-march@host/db"}
    assert redact("password tulip-in-march was refused", environment) == (
        "password [redacted] was refused"
    )


def test_short_values_and_places_of_keys_are_none(tmp_path) -> None:
    place = tmp_path / "id"
    place.touch()
    environment = {"JUDGE_API_KEY": "EMPTY", "SSH_KEY": str(place)}
    assert redact(f"EMPTY {place}", environment) == f"EMPTY {place}"
