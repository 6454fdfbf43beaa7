"""The way into the command line and out of it, whatever comes between.

It imports next to nothing: what takes a second to import comes once Ctrl-C ends the process in
order.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading

from .exit_codes import EXIT_BAD_INPUT, EXIT_CTRL_C, EXIT_FAILED

# `typing` takes its time, in which Ctrl-C would still be Python's.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

INTERRUPTED = "interrupted by Ctrl-C"


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; what a user did wrong is one line per fault, without a traceback.

    The last line is the command that helps next.

    Every file is its owner's alone, also those that MLflow, sqlite, Ray and Optuna create: adapters
    and scores may tell of private data.
    """
    os.umask(0o077)
    before = _on_ctrl_c(_end_at_once)
    from droplora_sweep.errors import DropLoRASweepError, InputError

    from .app import app
    from .next_step import next_line
    from .printing import complain

    words = sys.argv[1:] if arguments is None else arguments

    def explain(error: DropLoRASweepError) -> None:
        complain("\n".join(filter(None, (str(error), next_line(error, words)))))

    try:
        _on_ctrl_c(before)
        code = _exit_code(lambda: app(arguments, prog_name="droplora-sweep"))
        sys.stdout.flush()
    except InputError as error:
        explain(error)
        code = EXIT_BAD_INPUT
    except DropLoRASweepError as error:
        explain(error)
        code = EXIT_FAILED
    except OSError as error:
        if not _is_full(error):
            raise
        complain(f"cannot write the output: {error.strerror}")
        code = EXIT_FAILED
    except KeyboardInterrupt:
        # The commands are still being set up: what catches it within them is not there yet.
        code = EXIT_CTRL_C
    if code == EXIT_CTRL_C:
        complain(INTERRUPTED)
    _drop_what_cannot_be_written()
    sys.exit(code)


def _on_ctrl_c(handler: Any) -> Any:
    """Set what is done on SIGINT; the handler before, None where this thread has none to set."""
    if handler is None or threading.current_thread() is not threading.main_thread():
        return None
    return signal.signal(signal.SIGINT, handler)


def _end_at_once(_number: int, _frame: FrameType | None) -> None:
    """Leave: nothing has been started or written, and imports may not be broken by an exception.

    Python shows one in the middle of an import, or whoever imports swallows it.
    """
    os.write(2, f"{INTERRUPTED}\n".encode())
    os._exit(EXIT_CTRL_C)


def _exit_code(run: Callable[[], object]) -> int:
    """Return what Typer, or a command, ends with."""
    try:
        run()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _is_full(error: OSError) -> bool:
    """Return True where standard output takes no more: a full disk, or a reader that is gone."""
    full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EPIPE)
    return error.errno in full and error.filename is None


def _drop_what_cannot_be_written() -> None:
    """Flush, or Python does so at its end, and shows a traceback where it cannot."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            # Closed or full: what is left in its buffer goes nowhere.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
