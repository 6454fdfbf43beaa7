"""Seccomp filter of the system calls that a sandboxed program may make (``syscalls.txt``).

A list of what is allowed, not of what is forbidden: a kernel's newer calls are refused by default.
Left out on purpose are all ways to start a process or thread (so the process limit is one, for
root too, whom RLIMIT_NPROC does not bind), to replace or signal a process, to read another one's
memory, to open a socket, to change limits, mounts or namespaces, and to hold memory that RLIMIT_AS
does not count (System V segments, ``memfd_create``).

The filter is classic BPF as ``prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER)`` takes it, see
https://docs.kernel.org/userspace-api/seccomp_filter.html. Numbers are those of
``asm/unistd_64.h`` and ``asm-generic/unistd.h``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MACHINES: Final = ("x86_64", "aarch64")

_AUDIT_ARCHITECTURES: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


def _read_allowed() -> dict[str, tuple[int | None, ...]]:
    text = Path(__file__).with_name("syscalls.txt").read_text(encoding="utf-8")
    rows = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    return {
        name: tuple(None if number == "-" else int(number) for number in numbers)
        for name, *numbers in rows
    }


ALLOWED: Final = _read_allowed()
"""Number of each allowed call on each of ``MACHINES``; None where the machine lacks it."""

_ALLOWED_FOR: Final[dict[str, tuple[tuple[int, int], int]]] = {
    # AF_UNIX: the two ends are both the program's own.
    "socketpair": ((53, 199), 1),
    # Its own limits alone; the process 0 is the calling one.
    "prlimit64": ((302, 261), 0),
}
"""Name: number on each machine, and the one value that the first argument may have."""

_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_JUMP_IF_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_RETURN: Final = 0x06  # BPF_RET | BPF_K

_NUMBER_OFFSET: Final = 0
_ARCHITECTURE_OFFSET: Final = 4
_FIRST_ARGUMENT_OFFSET: Final = 16

_KILL_PROCESS: Final = 0x80000000
_ALLOW: Final = 0x7FFF0000
# As on a kernel without the call: the C library then tries the older calls it knows.
_NOT_IMPLEMENTED: Final = 0x00050000 | 38  # SECCOMP_RET_ERRNO | ENOSYS


@dataclass(frozen=True)
class _Instruction:
    """``struct sock_filter``; the jumps count instructions to skip."""

    code: int
    operand: int
    if_true: int = 0
    if_false: int = 0

    def packed(self) -> bytes:
        return struct.pack("=HBBI", self.code, self.if_true, self.if_false, self.operand)


def build_filter(machine: str) -> bytes:
    """The filter's instructions, each a ``struct sock_filter`` of 8 bytes.

    Args:
        machine: One of ``MACHINES``, as ``platform.machine()`` says it.
    """
    column = MACHINES.index(machine)
    allowed = sorted(
        number for numbers in ALLOWED.values() if (number := numbers[column]) is not None
    )
    instructions = [
        _Instruction(_LOAD, _ARCHITECTURE_OFFSET),
        # Another architecture's calls, such as the 32-bit ones of x86, have other numbers.
        _Instruction(_JUMP_IF_EQUAL, _AUDIT_ARCHITECTURES[machine], if_true=1),
        _Instruction(_RETURN, _KILL_PROCESS),
        _Instruction(_LOAD, _NUMBER_OFFSET),
    ]
    for number in allowed:
        instructions.append(_Instruction(_JUMP_IF_EQUAL, number, if_false=1))
        instructions.append(_Instruction(_RETURN, _ALLOW))
    for numbers, value in _ALLOWED_FOR.values():
        instructions.append(_Instruction(_JUMP_IF_EQUAL, numbers[column], if_false=4))
        instructions.append(_Instruction(_LOAD, _FIRST_ARGUMENT_OFFSET))
        instructions.append(_Instruction(_JUMP_IF_EQUAL, value, if_false=1))
        instructions.append(_Instruction(_RETURN, _ALLOW))
        instructions.append(_Instruction(_RETURN, _NOT_IMPLEMENTED))
    instructions.append(_Instruction(_RETURN, _NOT_IMPLEMENTED))
    return b"".join(instruction.packed() for instruction in instructions)
