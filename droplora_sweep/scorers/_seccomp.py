"""The system calls a sandboxed program may make, as a seccomp filter.

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
from typing import Final

MACHINES: Final = ("x86_64", "aarch64")

_AUDIT_ARCHITECTURES: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

ALLOWED: Final[dict[str, tuple[int | None, int | None]]] = {
    # Files, as far as the file systems allow.
    "read": (0, 63),
    "write": (1, 64),
    "readv": (19, 65),
    "writev": (20, 66),
    "pread64": (17, 67),
    "pwrite64": (18, 68),
    "open": (2, None),
    "openat": (257, 56),
    "close": (3, 57),
    "stat": (4, None),
    "fstat": (5, 80),
    "lstat": (6, None),
    "newfstatat": (262, 79),
    "statx": (332, 291),
    "statfs": (137, 43),
    "fstatfs": (138, 44),
    "access": (21, None),
    "faccessat": (269, 48),
    "faccessat2": (439, 439),
    "lseek": (8, 62),
    "getdents": (78, None),
    "getdents64": (217, 61),
    "getcwd": (79, 17),
    "chdir": (80, 49),
    "fchdir": (81, 50),
    "mkdir": (83, None),
    "mkdirat": (258, 34),
    "rmdir": (84, None),
    "unlink": (87, None),
    "unlinkat": (263, 35),
    "rename": (82, None),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    "readlink": (89, None),
    "readlinkat": (267, 78),
    "symlink": (88, None),
    "symlinkat": (266, 36),
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "utimensat": (280, 88),
    "truncate": (76, 45),
    "ftruncate": (77, 46),
    "fsync": (74, 82),
    "fdatasync": (75, 83),
    "flock": (73, 32),
    "umask": (95, 166),
    "sendfile": (40, 71),
    "copy_file_range": (326, 285),
    # Descriptors; asyncio's event loop needs the last lines.
    "dup": (32, 23),
    "dup2": (33, None),
    "dup3": (292, 24),
    "pipe": (22, None),
    "pipe2": (293, 59),
    "fcntl": (72, 25),
    "ioctl": (16, 29),
    "poll": (7, None),
    "ppoll": (271, 73),
    "select": (23, None),
    "pselect6": (270, 72),
    "epoll_create1": (291, 20),
    "epoll_ctl": (233, 21),
    "epoll_wait": (232, None),
    "epoll_pwait": (281, 22),
    "eventfd2": (290, 19),
    "sendto": (44, 206),
    "recvfrom": (45, 207),
    "shutdown": (48, 210),
    # Memory of its own, which RLIMIT_AS counts.
    "mmap": (9, 222),
    "munmap": (11, 215),
    "mprotect": (10, 226),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "brk": (12, 214),
    # Signals to itself by timers, and their handlers.
    "futex": (202, 98),
    "set_robust_list": (273, 99),
    "sigaltstack": (131, 132),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "rt_sigpending": (127, 136),
    "rt_sigtimedwait": (128, 137),
    "pause": (34, None),
    "alarm": (37, None),
    "getitimer": (36, 102),
    "setitimer": (38, 103),
    "restart_syscall": (219, 128),
    # Time.
    "nanosleep": (35, 101),
    "clock_nanosleep": (230, 115),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "gettimeofday": (96, 169),
    "time": (201, None),
    "times": (100, 153),
    "getrusage": (98, 165),
    "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123),
    "getcpu": (309, 168),
    # Itself.
    "getpid": (39, 172),
    "gettid": (186, 178),
    "getppid": (110, 173),
    "getpgrp": (111, None),
    "getpgid": (121, 155),
    "getsid": (124, 156),
    "getuid": (102, 174),
    "geteuid": (107, 175),
    "getgid": (104, 176),
    "getegid": (108, 177),
    "getgroups": (115, 158),
    "getrandom": (318, 278),
    "uname": (63, 160),
    "sysinfo": (99, 179),
    "exit": (60, 93),
    "exit_group": (231, 94),
}
"""Name: number on each of ``MACHINES``; None where the machine lacks the call."""

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
