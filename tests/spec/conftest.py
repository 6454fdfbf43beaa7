from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from droplora_sweep.errors import InputError
from droplora_sweep.spec import load_sweep

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def refusal(tmp_path: Path) -> Callable[..., list[str]]:
    """The lines that refuse a text with overrides, without the folder the file is in."""

    def refuse(text: str | bytes, *overrides: str) -> list[str]:
        file = tmp_path / "s.yaml"
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        with pytest.raises(InputError) as caught:
            load_sweep(file, overrides)
        return str(caught.value).replace(f"{tmp_path}/", "").splitlines()

    return refuse
