"""A file behind a URL: what a real server can answer, within limits of size, time and redirects."""

from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import ipaddress
import ssl
import time
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from droplora_sweep.fetching.errors import FetchError
from droplora_sweep.fetching.fetch import fetch
from droplora_sweep.fetching.web import Patience, fetch_from_web

from .conftest import ROWS, redirect, reply, stream_for_ever

if TYPE_CHECKING:
    from pathlib import Path

    from droplora_sweep.fetching.cache import Cache

    from .conftest import Web

HASTE = Patience(connect_s=2, silence_s=0.5, window_s=0.3, window_bytes=2_000, pauses_s=(0.0, 0.0))


def refusal(web: Web, path: str, folder: Path, *, max_bytes: int = 1_000_000) -> str:
    folder.mkdir(exist_ok=True)
    url = web.url(path)
    with pytest.raises(FetchError) as raised:
        fetch_from_web(url, folder, {}, max_bytes=max_bytes, patience=HASTE)
    text = str(raised.value)
    assert "\n" not in text
    shown = url.partition("?")[0]
    assert text.startswith(f"{shown}: ")
    return text.removeprefix(f"{shown}: ")


def test_a_file_is_kept_by_the_digest_of_its_content(web: Web, cache: Cache) -> None:
    web.answers["/a/rows.jsonl"] = lambda to: reply(to, ROWS)
    web.answers["/b/rows.jsonl"] = lambda to: reply(to, ROWS)
    first, second = (fetch(web.url(f"/{one}/rows.jsonl"), cache=cache) for one in "ab")
    assert first == second
    assert first.path.name == "rows.jsonl"
    assert first.path.read_bytes() == ROWS
    assert first.pin == f"sha256:{hashlib.sha256(ROWS).hexdigest()}"
    assert first.path.stat().st_mode & 0o077 == 0


def test_what_has_not_changed_is_not_sent_again(web: Web, cache: Cache) -> None:
    body = [ROWS]

    def answer(to) -> None:  # type: ignore[no-untyped-def]
        tag = f'"{hashlib.sha256(body[0]).hexdigest()}"'
        if to.headers["If-None-Match"] == tag:
            reply(to, b"", 304)
        else:
            reply(to, body[0], 200, {"ETag": tag})

    web.answers["/rows.jsonl"] = answer
    url = web.url("/rows.jsonl")
    first = fetch(url, cache=cache)
    assert fetch(url, cache=cache) == first
    assert [headers.get("If-None-Match") is None for _, headers in web.asked] == [True, False]
    body[0] = ROWS[:100]
    assert fetch(url, cache=cache).path.read_bytes() == ROWS[:100]
    # What was read before is asked for by its digest, without the server.
    num_asked = len(web.asked)
    assert fetch(url, first.pin, cache=cache).path.read_bytes() == ROWS
    assert len(web.asked) == num_asked


def test_content_that_is_not_the_one_that_is_wanted_is_refused(web: Web, cache: Cache) -> None:
    web.answers["/rows.jsonl"] = lambda to: reply(to, ROWS)
    wanted = f"sha256:{'0' * 64}"
    with pytest.raises(FetchError) as raised:
        fetch(web.url("/rows.jsonl"), wanted, cache=cache)
    assert str(raised.value) == (
        f"{web.url('/rows.jsonl')}: must have the content {wanted}, as `revision` says, got "
        f"sha256:{hashlib.sha256(ROWS).hexdigest()}"
    )


@pytest.mark.parametrize(
    ("path", "headers", "name"),
    [
        ("/rows.csv?version=3", {}, "rows.csv"),
        ("/download", {"Content-Type": "text/csv; charset=utf-8"}, "download.csv"),
        ("/download", {"Content-Disposition": 'attachment; filename="my rows.tsv"'}, "my_rows.tsv"),
        ("/..%2Fup.jsonl", {}, "up.jsonl"),
        ("/", {"Content-Type": "application/json"}, "data.json"),
        ("/rows.jsonl.gz", {"Content-Encoding": "gzip"}, "rows.jsonl.gz"),
    ],
)
def test_the_name_tells_the_kind_of_file(
    web: Web, cache: Cache, path: str, headers: dict[str, str], name: str
) -> None:
    body = gzip.compress(ROWS)
    web.answers[path.partition("?")[0]] = lambda to: reply(to, body, 200, headers)
    fetched = fetch(web.url(path), cache=cache)
    assert fetched.path.name == name
    assert fetched.path.read_bytes() == body


def test_what_a_server_refuses_is_named(web: Web, tmp_path: Path) -> None:
    for code in (401, 403, 410, 418):
        web.answers[f"/{code}"] = lambda to, code=code: reply(to, b"", code)
    missing = "cannot be read: the server answers 404: there is no such file"
    assert refusal(web, "/none.json", tmp_path) == missing
    login = "cannot be read: the server answers 401; ~/.netrc gives a login"
    assert refusal(web, "/401", tmp_path) == login
    assert refusal(web, "/403", tmp_path) == login.replace("401", "403")
    assert refusal(web, "/410", tmp_path) == missing.replace("404", "410")
    assert refusal(web, "/418", tmp_path).startswith("cannot be read: the server answers 418")


def test_a_page_is_no_data_file(web: Web, tmp_path: Path) -> None:
    page = {"Content-Type": "text/html; charset=utf-8"}
    for path in ("/rows.json", "/o/r/blob/main/rows.json"):
        web.answers[path] = lambda to: reply(to, b"<html>", 200, page)
    assert refusal(web, "/rows.json", tmp_path) == "must be a data file, got a web page"
    assert refusal(web, "/o/r/blob/main/rows.json", tmp_path) == (
        "must be a data file, got a web page; the file itself is at /raw/ (GitHub) or /resolve/ "
        "(Hub) in place of /blob/"
    )


def test_size_is_limited_whatever_the_server_says_of_it(web: Web, tmp_path: Path) -> None:
    web.answers["/large"] = lambda to: reply(to, ROWS)
    web.answers["/endless"] = stream_for_ever(b"x" * 10_000, 0)
    large = f"must be at most 100 bytes, got {len(ROWS):,}"
    assert refusal(web, "/large", tmp_path, max_bytes=100) == large
    assert refusal(web, "/endless", tmp_path) == "must be at most 1,000,000 bytes, got more"


def test_a_server_that_drips_or_falls_silent_is_given_up(web: Web, tmp_path: Path) -> None:
    web.answers["/drip"] = stream_for_ever(b"x", 0.05)
    web.answers["/silent"] = lambda to: time.sleep(3)
    web.answers["/stalls"] = stream_for_ever(b"x" * 5_000, 3)
    started = time.monotonic()
    assert refusal(web, "/drip", tmp_path).startswith("must send 2,000 bytes in 0 s, got ")
    for path in ("/silent", "/stalls"):
        assert refusal(web, path, tmp_path) == "cannot be read: the server does not answer"
    assert time.monotonic() - started < 20


def test_a_file_that_breaks_off_is_asked_for_again_and_never_taken(
    web: Web, tmp_path: Path
) -> None:
    def broken(to) -> None:  # type: ignore[no-untyped-def]
        reply(to, ROWS[:50], length=len(ROWS))
        to.close_connection = True

    web.answers["/broken.jsonl"] = broken
    assert refusal(web, "/broken.jsonl", tmp_path) == (
        "cannot be read: the connection broke before the end"
    )
    assert len(web.asked) == 3

    def better(to) -> None:  # type: ignore[no-untyped-def]
        (broken if len(web.asked) == 4 else lambda to: reply(to, ROWS))(to)

    web.answers["/better.jsonl"] = better
    (tmp_path / "again").mkdir()
    fetch_from_web(web.url("/better.jsonl"), tmp_path / "again", {}, patience=HASTE)
    assert (tmp_path / "again" / "better.jsonl").read_bytes() == ROWS


def test_a_busy_server_is_asked_again(web: Web, tmp_path: Path) -> None:
    def busy(to) -> None:  # type: ignore[no-untyped-def]
        if len(web.asked) < 3:
            reply(to, b"", 503, {"Retry-After": "0"})
        else:
            reply(to, ROWS)

    web.answers["/rows.jsonl"] = busy
    assert fetch_from_web(web.url("/rows.jsonl"), tmp_path, {}, patience=HASTE) == {}
    assert (tmp_path / "rows.jsonl").read_bytes() == ROWS
    web.answers["/always"] = lambda to: reply(to, b"", 503)
    assert refusal(web, "/always", tmp_path).startswith("cannot be read: the server answers 503")


def test_redirects_are_followed_to_a_file_and_no_further(web: Web, tmp_path: Path) -> None:
    web.answers["/rows.jsonl"] = lambda to: reply(to, ROWS)
    web.answers["/moved.jsonl"] = redirect("/again")
    web.answers["/again"] = redirect(web.url("/rows.jsonl", "localhost"))
    web.answers["/loop"] = redirect("/loop")
    web.answers["/ftp"] = redirect("ftp://host/rows.jsonl")
    web.answers["/file"] = redirect("file:///etc/passwd")
    fetch_from_web(web.url("/moved.jsonl"), tmp_path, {}, patience=HASTE)
    assert (tmp_path / "moved.jsonl").read_bytes() == ROWS
    loop = "must lead to a file in 5 redirects at most, got more"
    assert refusal(web, "/loop", tmp_path) == loop
    for path in ("/ftp", "/file"):
        elsewhere = "must lead to a file over https, got a redirect elsewhere"
        assert refusal(web, path, tmp_path) == elsewhere


def test_a_login_goes_to_its_host_alone(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login ann password tulip-in-march\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    web.answers["/rows.jsonl"] = redirect(web.url("/there", "localhost"))
    web.answers["/there"] = lambda to: reply(to, b"", 403)
    said = refusal(web, "/rows.jsonl", tmp_path / "to")
    assert [("Authorization" in headers) for _, headers in web.asked] == [True, False]
    assert "tulip" not in said


def test_a_signed_address_is_in_no_message(web: Web, tmp_path: Path) -> None:
    web.answers["/a.json"] = redirect(web.url("/b.json?X-Amz-Signature=tulip-in-march"))
    assert "tulip" not in refusal(web, "/a.json?key=tulip-in-march", tmp_path)


def test_servers_that_are_not_there(tmp_path: Path) -> None:
    for url, problem in (
        ("http://127.0.0.1:1/rows.json", "cannot be read: the server refuses the connection"),
        ("http://nowhere.invalid/rows.json", "cannot be read: there is no such host"),
    ):
        with pytest.raises(FetchError) as raised:
            fetch_from_web(url, tmp_path, {}, patience=HASTE)
        assert str(raised.value) == f"{url}: {problem}"


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, private = folder / "cert.pem", folder / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate, private


def test_https_needs_a_certificate_and_does_not_fall_back(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = _certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    web.socket = context.wrap_socket(web.socket, server_side=True)
    web.answers["/rows.jsonl"] = lambda to: reply(to, ROWS)
    web.answers["/down"] = redirect("http://127.0.0.1:1/rows.jsonl")
    url = web.url("/rows.jsonl", scheme="https")
    with pytest.raises(FetchError, match="the server's certificate cannot be verified"):
        fetch_from_web(url, tmp_path, {}, patience=HASTE)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    fetch_from_web(url, tmp_path, {}, patience=HASTE)
    assert (tmp_path / "rows.jsonl").read_bytes() == ROWS
    with pytest.raises(FetchError, match="must stay at https, got a redirect to http"):
        fetch_from_web(web.url("/down", scheme="https"), tmp_path, {}, patience=HASTE)
