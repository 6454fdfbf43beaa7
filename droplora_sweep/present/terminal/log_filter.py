"""A process that writes its input to a log file, line by line, without the secrets in it.

    python -m droplora_sweep.present.terminal.log_filter FILE

It is no thread of the driver: a library that fills the pipe while it holds the interpreter's lock
would wait for such a thread for ever, and what the driver says as it dies would be lost.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys

from droplora_sweep.redaction import redact

MAX_LINE_BYTES = 10_000
"""A line longer than this is written in parts."""


def main(path: str) -> None:
    """Copy standard input to the end of a file until the input ends.

    Signals do not end it: `ray job stop` sends them to a driver's children too, and a driver
    without its log's reader could not say another word.
    """
    for ignored in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    log = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    rest = b""
    while chunk := os.read(sys.stdin.fileno(), 65536):
        rest += chunk
        end = max(rest.rfind(b"\n"), rest.rfind(b"\r")) + 1
        if not end and len(rest) > MAX_LINE_BYTES:
            end = len(rest)
        whole, rest = rest[:end], rest[end:]
        _write(log, whole)
    _write(log, rest)


def _write(log: int, text: bytes) -> None:
    lines = text.splitlines(keepends=True)
    clean = "".join(redact(line.decode("utf-8", "surrogateescape")) for line in lines)
    # On a full disk the log has gaps; the input is read on, or its writers would wait for ever.
    with contextlib.suppress(OSError):
        os.write(log, clean.encode("utf-8", "surrogateescape"))


if __name__ == "__main__":
    main(sys.argv[1])
