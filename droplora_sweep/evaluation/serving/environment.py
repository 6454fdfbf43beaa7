"""The Python environment of vLLM, which needs other versions of the libraries than this package."""

from __future__ import annotations

import os
import sys
from pathlib import Path

VARIABLE = "DROPLORA_VLLM"
"""Environment variable that names vLLM's environment on a worker's machine."""
DEFAULT_NAME = ".venv-vllm"
"""Folder of the environment that ``make vllm`` makes, beside the one that runs."""

SCRIPT = Path(__file__).with_name("vllm_server.py")
"""Script that the environment's Python runs."""


def vllm_environment() -> Path:
    """Return the folder of vLLM's environment, be it there or not."""
    named = os.environ.get(VARIABLE)
    return Path(named).expanduser() if named else Path(sys.prefix).with_name(DEFAULT_NAME)


def environment_problem() -> str | None:
    """Return why there is no vLLM on this machine; None where there is one.

    It is not started: the files alone are looked for.
    """
    folder = vllm_environment()
    if (folder / "bin" / "python").exists() and any(
        folder.glob("lib/python3*/site-packages/vllm/__init__.py")
    ):
        return None
    named = VARIABLE in os.environ
    how = "which names vLLM's environment" if named else "which `make vllm` fills"
    place = f"{VARIABLE}={folder}" if named else str(folder)
    return f"there is no vLLM in {place}, {how}"
