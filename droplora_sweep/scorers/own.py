"""Scorers of a user's own: a Python function, or a command that reads responses.

``scoring: my_metrics:score`` names a function of an importable module, ``scoring: score.py:score``
one of a file. It is asked for by the names of its parameters, and returns a number in [0, 1]::

    def score(response, reference):
        return float(reference in response)

``prompt`` and ``id`` are the others. A function whose parameters are the plurals (``responses``,
``references``, ``prompts``, ``ids``) is called once, with lists, and returns a list. A class that
extends ``Scorer`` is a scorer as a package would bring it.

``scoring: command`` starts the program of ``command``, without a shell, once for all responses of a
worker. Each line of its input is one JSON object, ``{"id": str, "prompt": str, "response": str,
"reference": str}``, and each line of its output has to be the number of one response, in order.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import json
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from droplora_sweep import plugins

from .scorer import Answer, ProtocolName, Response, Scorer, ScoringError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

GIVEN: Final = ("id", "prompt", "response", "reference")
"""Parts of a response that a scorer of one's own may ask for."""
PLURALS: Final = tuple(f"{name}s" for name in GIVEN)
COMMAND: Final = "command"
"""The ``scoring`` of a command."""
DEFAULT_TIMEOUT_S: Final = 600.0
MAX_SHOWN: Final = 200
"""Characters that are shown of what a command wrote before it failed."""


def is_place(scoring: str) -> bool:
    """Return True for ``module:function`` and ``file.py:function``."""
    module, colon, name = scoring.rpartition(":")
    return bool(colon and module and name.isidentifier())


@dataclass(frozen=True, kw_only=True)
class FunctionScorer(Scorer):
    """Scorer by a user's function.

    Attributes:
        place: ``module:function`` or ``file.py:function``.
    """

    grades = True
    place: str

    @property
    def is_own(self) -> bool:
        """Always."""
        return True

    def code_digest(self) -> str | None:
        """Return the digest of the module's file; other modules that it imports do not count."""
        file = plugins.source_of(self.place)
        return None if file is None else hashlib.sha256(file.read_bytes()).hexdigest()

    def read_each(
        self,
        responses: Sequence[Response],
        protocol: ProtocolName,
        *,
        allow_unsandboxed_code: bool = False,
    ) -> list[Answer]:
        """Call the function."""
        del protocol, allow_unsandboxed_code
        try:
            function = find_function(self.place)
        except plugins.PluginError as error:
            raise ScoringError(str(error)) from error
        names = _parameters(function)
        if set(names) <= set(PLURALS):
            columns = {f"{name}s": [_given(one)[name] for one in responses] for name in GIVEN}
            scores = list(function(**{name: columns[name] for name in names}))
        else:
            scores = [function(**{name: _given(one)[name] for name in names}) for one in responses]
        return [_answer(one.text, score) for one, score in zip(responses, scores, strict=False)] + [
            Answer(None, correct=False)
        ] * (len(scores) - len(responses))


@dataclass(frozen=True, kw_only=True)
class CommandScorer(Scorer):
    """Scorer by a program that reads responses and prints scores.

    Attributes:
        command: The program and its arguments.
        timeout_s: Seconds for all responses of one worker.
    """

    grades = True
    command: tuple[str, ...]
    timeout_s: float = DEFAULT_TIMEOUT_S

    @property
    def is_own(self) -> bool:
        """Always."""
        return True

    def code_digest(self) -> str | None:
        """Return the digest of the files that the command names, or of its program.

        A program that is given files, as Python is, does not count.
        """
        named = [Path(one) for one in self.command[1:] if Path(one).is_file()]
        files = named or [Path(one) for one in self.command[:1] if Path(one).is_file()]
        if not files:
            return None
        digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
        return hashlib.sha256("\n".join(digests).encode()).hexdigest()

    def read_each(
        self,
        responses: Sequence[Response],
        protocol: ProtocolName,
        *,
        allow_unsandboxed_code: bool = False,
    ) -> list[Answer]:
        """Run the program."""
        del protocol, allow_unsandboxed_code
        if not responses:
            return []
        lines = "".join(f"{json.dumps(_given(one))}\n" for one in responses)
        printed = run_command(self.command, lines, self.timeout_s).splitlines()
        while printed and not printed[-1].strip():
            printed.pop()
        if len(printed) != len(responses):
            raise ScoringError(
                f"the command must print one score per response, {len(responses)}, got "
                f"{len(printed)} lines from {self.command[0]}"
            )
        return [
            _answer(one.text, _number(line, index))
            for index, (one, line) in enumerate(zip(responses, printed, strict=True), 1)
        ]


def run_command(command: Sequence[str], text: str, timeout_s: float) -> str:
    """Return what a program prints when it is given a text; it and its children end in time.

    Raises:
        ScoringError: It cannot be started, takes longer, or ends with an error.
    """
    try:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or str(error)
        raise ScoringError(
            f"the command must be a program that can be started, got {command[0]!r}: {said}"
        ) from error
    try:
        printed, errors = process.communicate(text.encode("utf-8", "replace"), timeout=timeout_s)
    except subprocess.TimeoutExpired as error:
        raise ScoringError(
            f"the command must end within {timeout_s:g} s (`command_timeout_s`), got {command[0]!r}"
            ", which was still running"
        ) from error
    finally:
        # Whatever it has started ends with it.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
    if process.returncode:
        last = errors.decode(errors="replace").strip().rpartition("\n")[2][-MAX_SHOWN:]
        ended = (
            f"exit code {process.returncode}"
            if process.returncode > 0
            else f"signal {-process.returncode}"
        )
        raise ScoringError(
            f"the command must end with exit code 0, got {ended} from {command[0]!r}: "
            f"{last or 'it wrote nothing to stderr'}"
        )
    return printed.decode(errors="replace")


def find_function(place: str) -> Callable[..., Any]:
    """Return the function of a place.

    Raises:
        PluginError: It cannot be imported, or does not take what a scorer is given.
    """
    return _found(place, os.getcwd())  # noqa: PTH109


@functools.cache
def _found(place: str, folder: str) -> Callable[..., Any]:
    del folder
    found = plugins.import_place(place)
    if not callable(found):
        raise plugins.PluginError(f"must be a function, got {place}: {type(found).__name__}")
    if not isinstance(found, type):
        _check_parameters(place, _parameters(found))
    return found


def find_scorer(place: str) -> Scorer:
    """Return the scorer of a place: that of a class, or one that calls a function.

    Raises:
        PluginError: There is none.
    """
    found = find_function(place)
    if not isinstance(found, type):
        return FunctionScorer(place=place)
    if not issubclass(found, Scorer):
        raise plugins.PluginError(
            f"must be a function or a subclass of Scorer, got {place}: a class"
        )
    return found()


def _parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return the names of what a function must be given, and of what it may be given."""
    parameters = inspect.signature(function).parameters.values()
    needed = [one.name for one in parameters if one.default is one.empty]
    return (
        *needed,
        *(
            one.name
            for one in parameters
            if one.name not in needed and one.name in (*GIVEN, *PLURALS)
        ),
    )


def _check_parameters(place: str, names: Sequence[str]) -> None:
    if names and (set(names) <= set(GIVEN) or set(names) <= set(PLURALS)):
        return
    raise plugins.PluginError(
        f"must take parameters named {', '.join(GIVEN)}, or all of them in the plural, got "
        f"{place}({', '.join(names)})"
    )


def _given(response: Response) -> dict[str, str]:
    return {
        "id": response.id,
        "prompt": response.prompt,
        "response": response.text,
        "reference": response.reference,
    }


def _answer(text: str, score: Any) -> Answer:
    """Return the answer of a number that is still to be checked."""
    return Answer(text.strip() or None, correct=False, credit=score)


def _number(line: str, index: int) -> float:
    try:
        return float(line)
    except ValueError as error:
        raise ScoringError(
            f"the command must print a number in line {index}, got {line.strip()[:40]!r}"
        ) from error
