"""Code answers: the program in a response, which must pass the example's tests."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .code_runner import run_programs
from .scorer import Answer, ProtocolName, Scorer, StopRule

if TYPE_CHECKING:
    from collections.abc import Sequence

CODE_FENCE: Final = "```python"
CLOSING_FENCE: Final = "\n```"
CODE_ENDS: Final = ('if __name__ == "__main__":', "# Example usage", "assert")
OPENING_FENCE: Final = re.compile(r"^```(?:python|py)[ \t]*\n", re.MULTILINE)
STRICT_CLOSING_FENCE: Final = re.compile(r"^```", re.MULTILINE)
_DEMONSTRATION: Final = re.compile(
    r"^(?:if __name__\b|# Example usage|assert\b).*", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True, kw_only=True)
class CodeScorer(Scorer):
    """Scorer of the response's program, which must pass the answer's tests (``run_programs``)."""

    runs_code = True
    question = "Write a Python function double(x) that returns twice x."

    def gold_problem(self, gold: str) -> str | None:
        """Refuse tests that are no Python."""
        try:
            compile(gold, "tests", "exec")
        except (SyntaxError, ValueError) as error:
            return f"must be Python tests, got {gold[:40]!r}: {error.args[0]}"
        # What Python's own parser says of thousands of brackets or operators in a row.
        except (RecursionError, MemoryError):
            return f"must be Python tests, got {gold[:40]!r}, too deeply nested"
        return None

    def stop_rule(self, protocol: ProtocolName) -> StopRule:
        """End behind the program."""
        if protocol == "strict":
            return StopRule(_strict_block_is_closed, endings=("```",))
        return StopRule(_block_is_settled, endings=("```", *CODE_ENDS))

    def read_all(
        self,
        responses: Sequence[str],
        golds: Sequence[str],
        protocol: ProtocolName = "paper",
        *,
        preambles: Sequence[str] | None = None,
        allow_unsandboxed_code: bool = False,
    ) -> list[Answer]:
        """Run every program."""
        extract = extract_code if protocol == "paper" else read_code
        codes = [extract(response) for response in responses]
        programs = [
            None if code is None else f"{preamble}{code}\n\n{tests}\n"
            for preamble, code, tests in zip(
                preambles or [""] * len(golds), codes, golds, strict=True
            )
        ]
        passed = run_programs(
            (program for program in programs if program is not None),
            allow_unsandboxed=allow_unsandboxed_code,
        )
        return [
            Answer(code, program is not None and passed[program])
            for code, program in zip(codes, programs, strict=True)
        ]


def extract_code(response: str) -> str | None:
    """Return the first Python block, else the whole response, cut before its demonstration.

    The cut is at the first ``if __name__ == "__main__":``, ``# Example usage`` or ``assert``,
    wherever it stands: a docstring that holds the word "assert" loses its end, and with it the
    program. Further fences that open a Python block inside the first are dropped, and a closing
    fence counts only on a line of its own. What was cut at its end, by a closing fence too, loses
    its outer white space: the first line's indentation with it. A response without any of these
    is code as it is, so that the indented body of a function stays one. None if no code is left.
    """
    code = response.replace("\r", "")
    _, fence, block = code.partition(CODE_FENCE)
    if fence:
        # A response that met the token limit may lack the closing fence.
        code, closing, _ = block.rstrip().replace(CODE_FENCE, "").partition(CLOSING_FENCE)
        code = code.strip() if closing else code
    for end in CODE_ENDS:
        before, cut, _ = code.partition(end)
        code = before.strip() if cut else code
    return code if code.strip() else None


def read_code(response: str) -> str | None:
    """Return the first block fenced as Python, without its demonstration; None without one.

    A fence stands at the start of a line. The demonstration begins at the first unindented ``if
    __name__``, ``# Example usage`` or ``assert``, so that the same words inside a function or a
    docstring are kept. A block that met the token limit may lack its closing fence.
    """
    opening = OPENING_FENCE.search(response)
    if opening is None:
        return None
    code = STRICT_CLOSING_FENCE.split(response[opening.end() :], maxsplit=1)[0]
    return _DEMONSTRATION.sub("", code, count=1).strip("\n")


def _block_is_settled(text: str) -> bool:
    _, fence, block = text.replace("\r", "").partition(CODE_FENCE)
    if not fence:
        return False
    block = block.replace(CODE_FENCE, "")
    code, closing, _ = block.partition(CLOSING_FENCE)
    if any(end in code for end in CODE_ENDS):
        return True
    # A fence that may still become one that opens a block would be dropped.
    backticks = range(len(code) + 1, len(code) + len(CLOSING_FENCE))
    return bool(closing) and not any(CODE_FENCE.startswith(block[start:]) for start in backticks)


def _strict_block_is_closed(text: str) -> bool:
    opening = OPENING_FENCE.search(text)
    return opening is not None and STRICT_CLOSING_FENCE.search(text, opening.end()) is not None
