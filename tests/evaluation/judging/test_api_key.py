"""The key comes from the environment or a private file, and is seen nowhere but in the header."""

from __future__ import annotations

import json
import logging
import traceback
from typing import TYPE_CHECKING

import pytest

from droplora_sweep.errors import DropLoRASweepError, InputError
from droplora_sweep.evaluation.judging.endpoint import JudgeError, read_key
from droplora_sweep.evaluation.judging.grading import grade

from .conftest import KEY, Answer, conversation

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Endpoint, MakeSpec


def _key_file(tmp_path: Path, text: str = f"{KEY}\n", mode: int = 0o600) -> Path:
    path = tmp_path / "key"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_private_file_holds_the_key(endpoint: Endpoint, spec: MakeSpec, tmp_path: Path) -> None:
    judge = spec(key_env=None, key_file=str(_key_file(tmp_path)))
    grade([conversation()], judge, cache=tmp_path / "cache")
    assert endpoint.headers[0]["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_file_that_others_can_open_is_refused(
    endpoint: Endpoint, spec: MakeSpec, tmp_path: Path, mode: int
) -> None:
    path = _key_file(tmp_path, mode=mode)
    with pytest.raises(InputError) as caught:
        grade([conversation()], spec(key_env=None, key_file=str(path)), cache=tmp_path / "cache")
    assert str(caught.value) == (
        f"{path}: must be for its owner alone (chmod 600), got mode {mode:04o}"
    )
    assert endpoint.requests == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "must hold the judge's API key, got nothing"),
        (f"{KEY}\n{KEY}", "must hold one API key of visible ASCII characters"),
        (f"{KEY}\x00", "must hold one API key of visible ASCII characters"),
        (f"{KEY}é", "must hold one API key of visible ASCII characters"),
    ],
)
def test_what_is_no_key_is_refused_and_not_shown(
    spec: MakeSpec, tmp_path: Path, text: str, problem: str
) -> None:
    path = _key_file(tmp_path, text)
    with pytest.raises(InputError) as caught:
        read_key(spec(key_env=None, key_file=str(path)))
    assert str(caught.value) == f"{path}: {problem}"


def test_other_places_without_a_key(
    spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JUDGE_KEY")
    for judge, problem in [
        (
            spec(),
            "environment variable JUDGE_KEY: must hold the judge's API key, got nothing",
        ),
        (
            spec(key_env=None, key_file=str(tmp_path / "absent")),
            f"{tmp_path}/absent: cannot be read: No such file or directory",
        ),
        (spec(key_env=None, key_file="/dev/null"), "/dev/null: must be a file"),
    ]:
        with pytest.raises(InputError) as caught:
            read_key(judge)
        assert str(caught.value) == problem


def test_a_local_server_needs_no_key(
    endpoint: Endpoint, spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login user password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    grade([conversation()], spec(key_env=None), cache=tmp_path / "cache")
    assert "Authorization" not in endpoint.headers[0]


def _telling(status: int) -> Answer:
    """An endpoint that repeats the key it was sent."""
    said = {"error": {"message": f"{'x' * 165} bad key: {KEY}", "code": KEY}}
    return Answer(status=status, body=json.dumps(said).encode())


def test_the_key_is_nowhere_to_be_seen(
    endpoint: Endpoint, spec: MakeSpec, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    judge = spec()
    cache = tmp_path / "cache"
    seen = [repr(judge), str(judge), judge.model_dump_json(), repr(read_key(judge))]
    with caplog.at_level(logging.DEBUG):
        endpoint.script = [
            _telling(500),
            _telling(429),
            Answer(f"The key is {KEY}. Rating: [[4]]", finish_reason=KEY, usage=None),
            Answer(headers={"X-Key": KEY}, body=KEY.encode()),
        ]
        ratings = grade([conversation()], judge, cache=cache, sleep=lambda _: None)
        assert [rating.rating for rating in ratings] == [4.0, None]
        seen += [repr(ratings)]
        for status in (307, 400, 401):
            endpoint.script = [_telling(status)]
            with pytest.raises(JudgeError) as caught:
                grade([conversation(82)], judge, cache=cache)
            seen += traceback.format_exception(caught.value)
            seen += [repr(caught.value), str(caught.value)]
        endpoint.close()
        ratings = grade([conversation(83)], judge, cache=cache, sleep=lambda _: None)
        seen += [repr(ratings)]
    for record in caplog.records:
        seen += [record.getMessage(), repr(record.__dict__)]
    seen += [path.read_text() for path in cache.iterdir()]
    assert len(list(cache.iterdir())) == 1
    assert len(endpoint.headers) > 5
    assert {headers["Authorization"] for headers in endpoint.headers} == {f"Bearer {KEY}"}
    # A part of the key would be a leak too.
    assert not [text for text in seen if KEY[:12] in text or KEY[-12:] in text]
    assert any("[key]" in text for text in seen)


def test_a_key_in_the_wrong_place_is_not_shown(spec: MakeSpec) -> None:
    for field, value in [
        ("key_env", KEY),
        ("key_env", "sk_0123"),
        ("url", f"https://user:{KEY}@host/v1"),
        ("url", f"https://host/v1?key={KEY}"),
        ("url", f"https://host/v1#{KEY}"),
        ("url", f"ftp://host/{KEY}"),
        ("url", f"https://host:x{KEY}/"),
        ("url", f"http:///{KEY}"),
    ]:
        with pytest.raises(ValueError, match="must be") as caught:
            spec(**{field: value})
        assert value not in str(caught.value)
        assert KEY not in str(caught.value)


def test_one_key_has_one_place(spec: MakeSpec) -> None:
    with pytest.raises(ValueError, match="must be null where `key_env` is given, got both"):
        spec(key_file="key")


def test_errors_are_the_users() -> None:
    assert issubclass(JudgeError, DropLoRASweepError)
