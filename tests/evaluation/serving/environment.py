"""An environment whose vLLM is scripted, for tests of what becomes of its failures."""

from __future__ import annotations

import json
import venv
from pathlib import Path
from typing import TYPE_CHECKING, Any

from droplora_sweep.evaluation.serving.environment import VARIABLE

if TYPE_CHECKING:
    import pytest

SCRIPTED = Path(__file__).with_name("scripted") / "vllm"


def use_scripted_vllm(monkeypatch: pytest.MonkeyPatch, folder: Path, **script: Any) -> None:
    """Name an environment in this folder by the variable, with this script (see ``scripted``)."""
    environment = folder / "environment"
    if not environment.exists():
        venv.create(environment, symlinks=True)
        [packages] = environment.glob("lib/python3*/site-packages")
        (packages / "vllm").symlink_to(SCRIPTED)
    monkeypatch.setenv(VARIABLE, str(environment))
    monkeypatch.setenv("SCRIPTED_VLLM", json.dumps(script))
