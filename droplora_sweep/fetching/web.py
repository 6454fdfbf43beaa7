"""One file from a web server, within limits of size, time and redirects.

A login comes from ``~/.netrc``, by the host that is asked; a redirect to another host has that
host's login or none.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from email.message import Message
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urljoin, urlsplit

import requests
from urllib3.exceptions import HTTPError

from .errors import FetchError

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_BYTES: Final = 2**33
"""Largest file: 8 GiB, four times the longest text that is read."""
MAX_REDIRECTS: Final = 5
SUFFIXES_BY_TYPE: Final = {
    "application/json": ".json",
    "application/x-ndjson": ".jsonl",
    "application/jsonl": ".jsonl",
    "text/csv": ".csv",
    "text/tab-separated-values": ".tsv",
    "application/vnd.apache.parquet": ".parquet",
    "application/vnd.apache.arrow.file": ".arrow",
    "application/vnd.apache.arrow.stream": ".arrow",
}
_CHUNK_BYTES: Final = 1 << 18
_PAUSES_S: Final = (1.0, 4.0)
_REASONS: Final = (
    ("CERTIFICATE_VERIFY_FAILED", "the server's certificate cannot be verified"),
    ("SSL", "the server does not speak https as it should"),
    ("Failed to resolve", "there is no such host"),
    ("Connection refused", "the server refuses the connection"),
    ("Read timed out", "the server does not answer"),
    ("timed out", "the server cannot be reached"),
    ("IncompleteRead", "the connection broke before the end"),
    ("Connection broken", "the connection broke before the end"),
    ("Connection aborted", "the connection broke before the end"),
)
_PASSING: Final = {
    "the server refuses the connection",
    "the server cannot be reached",
    "the connection broke before the end",
}
"""Reasons that another attempt may not meet."""
_BUSY: Final = (429, 500, 502, 503, 504)


@dataclass(frozen=True)
class Patience:
    """Waiting for a server.

    Attributes:
        connect_s: Seconds to a connection.
        silence_s: Seconds without a byte.
        window_s: Seconds in which ``window_bytes`` have to come.
        window_bytes: Fewest bytes in a window; a server that drips would keep a sweep for ever.
        pauses_s: Seconds before each further attempt, where the server is busy or out of reach.
    """

    connect_s: float = 15
    silence_s: float = 30
    window_s: float = 60
    window_bytes: int = 64_000
    pauses_s: tuple[float, ...] = _PAUSES_S


def fetch_from_web(
    url: str,
    folder: Path,
    stamp: Mapping[str, str],
    *,
    max_bytes: int = MAX_BYTES,
    patience: Patience | None = None,
) -> dict[str, str] | None:
    """Write a URL's file into a folder.

    Args:
        url: ``https://`` or ``http://``.
        folder: An empty folder.
        stamp: Signs of the content that is known; {} for none.
        max_bytes: The largest file that is taken.
        patience: Limits of time.

    Returns:
        The signs of what is now in the folder; None where the server says that nothing has changed.

    Raises:
        FetchError: There is no such file, it is a page, is too large, or does not come.
    """
    patience = patience or Patience()
    for pause in (*patience.pauses_s, None):
        try:
            with requests.Session() as session:
                response = _get(session, url, stamp, patience)
                with response:
                    if response.status_code in _BUSY and pause is not None:
                        time.sleep(_wait(response, pause))
                        continue
                    return _receive(url, response, folder, max_bytes, patience)
        except FetchError:
            raise
        except (requests.RequestException, HTTPError, ValueError) as error:
            reason = _reason(error)
            if pause is None or reason not in _PASSING:
                raise FetchError(url, f"cannot be read: {reason}") from error
            time.sleep(pause)
    raise AssertionError("the last attempt returns or raises")


def _wait(response: requests.Response, pause: float) -> float:
    """Return the seconds that a busy server asks for, a minute at most."""
    asked = response.headers.get("Retry-After", "")
    return min(60.0, float(asked)) if asked.isdecimal() else pause


def _get(
    session: requests.Session, url: str, stamp: Mapping[str, str], patience: Patience
) -> requests.Response:
    # Packed bytes are kept as they are: what a file is follows from its content.
    headers = {"Accept-Encoding": "identity", "User-Agent": "droplora-sweep"}
    headers |= {
        ask: stamp[sign]
        for sign, ask in (("ETag", "If-None-Match"), ("Last-Modified", "If-Modified-Since"))
        if sign in stamp
    }
    place = url
    for _ in range(MAX_REDIRECTS + 1):
        response = session.get(
            place,
            headers=headers,
            stream=True,
            allow_redirects=False,
            timeout=(patience.connect_s, patience.silence_s),
        )
        target = session.get_redirect_target(response)
        if target is None:
            return response
        response.close()
        target = urljoin(place, target)
        if urlsplit(target).scheme not in ("http", "https"):
            raise FetchError(url, "must lead to a file over https, got a redirect elsewhere")
        if urlsplit(place).scheme == "https" and urlsplit(target).scheme == "http":
            raise FetchError(url, "must stay at https, got a redirect to http")
        place = target
    raise FetchError(url, f"must lead to a file in {MAX_REDIRECTS} redirects at most, got more")


def _receive(
    url: str, response: requests.Response, folder: Path, max_bytes: int, patience: Patience
) -> dict[str, str] | None:
    if response.status_code == 304:
        return None
    _check_answer(url, response)
    length = response.headers.get("Content-Length", "")
    if length.isdecimal() and int(length) > max_bytes:
        raise FetchError(url, f"must be at most {max_bytes:,} bytes, got {int(length):,}")
    num_bytes = 0
    started, window_bytes = time.monotonic(), 0
    with (folder / _file_name(url, response)).open("wb") as file:
        while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=False):
            num_bytes += len(chunk)
            if num_bytes > max_bytes:
                raise FetchError(url, f"must be at most {max_bytes:,} bytes, got more")
            file.write(chunk)
            window_bytes += len(chunk)
            passed = time.monotonic() - started
            if passed > patience.window_s:
                if window_bytes < patience.window_bytes:
                    problem = f"must send {patience.window_bytes:,} bytes in {passed:.0f} s"
                    raise FetchError(url, f"{problem}, got {window_bytes:,}")
                started, window_bytes = time.monotonic(), 0
    if length.isdecimal() and num_bytes != int(length):
        raise FetchError(url, f"must send {int(length):,} bytes, got {num_bytes:,}")
    signs = ("ETag", "Last-Modified")
    return {sign: response.headers[sign] for sign in signs if sign in response.headers}


def _check_answer(url: str, response: requests.Response) -> None:
    code = response.status_code
    if code in (401, 403):
        raise FetchError(url, f"cannot be read: the server answers {code}; ~/.netrc gives a login")
    if code in (404, 410):
        raise FetchError(url, f"cannot be read: the server answers {code}: there is no such file")
    if code != 200:
        raise FetchError(url, f"cannot be read: the server answers {code} {response.reason}")
    if _content_type(response) in ("text/html", "application/xhtml+xml"):
        hint = ""
        if "/blob/" in urlsplit(url).path:
            hint = "; the file itself is at /raw/ (GitHub) or /resolve/ (Hub) in place of /blob/"
        raise FetchError(url, f"must be a data file, got a web page{hint}")


def _content_type(response: requests.Response) -> str:
    return response.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def _file_name(url: str, response: requests.Response) -> str:
    """Return a name that tells the kind of file, as far as the URL or the server does."""
    header = Message()
    header["Content-Disposition"] = response.headers.get("Content-Disposition", "")
    given = (unquote(urlsplit(url).path), header.get_filename() or "")
    names = [_plain(PurePosixPath(name).name) for name in given]
    for name in names:
        if re.search(r"\.(jsonl?|ndjson|[ct]sv|parquet|arrow|feather)(\.gz)?$", name):
            return name
    return (names[0] or "data") + SUFFIXES_BY_TYPE.get(_content_type(response), "")


def _plain(name: str) -> str:
    """Return a name without what a file system or a terminal would take amiss."""
    return re.sub(r"[^\w.-]", "_", name)[-100:].lstrip(".")


def _reason(error: BaseException) -> str:
    """Return what went wrong, without addresses of objects or the URL's query."""
    text = str(error)
    return next((said for part, said in _REASONS if part in text), type(error).__name__)
