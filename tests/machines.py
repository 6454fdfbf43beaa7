"""Run the quick tests as machines that round otherwise would, in a shuffled order.

A processor's vector width and the number of threads decide in which order floating-point sums are
taken, and so their last bits. ``make test-machines`` runs the tests with each instruction set that
this processor has, with one thread and with two; more arguments go to pytest.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time

import torch

# ATen's own kernels, oneDNN's and MKL's, which each choose for themselves.
INSTRUCTION_SETS = {
    "default": {"ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"},
    "avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "avx512": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE", "MKL_ENABLE_INSTRUCTIONS": "AVX512"},
}
NUM_THREADS = (1, 2)


def available() -> list[str]:
    """The instruction sets of this processor, the narrowest first."""
    names = list(INSTRUCTION_SETS)
    widest = torch.backends.cpu.get_cpu_capability().lower()
    return names[: names.index(widest) + 1] if widest in names else ["default"]


def run(instruction_set: str, num_threads: int, seed: int, arguments: list[str]) -> int:
    """Exit code of pytest as such a machine; the seed decides the order of the tests."""
    environment = {
        **os.environ,
        **INSTRUCTION_SETS[instruction_set],
        "ATEN_CPU_CAPABILITY": instruction_set,
        "OMP_NUM_THREADS": str(num_threads),
    }
    command = [sys.executable, "-m", "pytest", "--random-order", f"--random-order-seed={seed}"]
    return subprocess.run([*command, *arguments], env=environment, check=False).returncode


def main(arguments: list[str]) -> int:
    rows = []
    for seed, (name, threads) in enumerate(itertools.product(available(), NUM_THREADS)):
        started = time.monotonic()
        code = run(name, threads, seed, arguments)
        seconds = time.monotonic() - started
        outcome = "passed" if code == 0 else f"pytest ended with {code}"
        rows.append(
            (code, f"{name:8} {threads} threads  order {seed}  {seconds:4.0f} s  {outcome}")
        )
    print("", *(row for _, row in rows), sep="\n")  # noqa: T201
    return max(code for code, _ in rows)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
