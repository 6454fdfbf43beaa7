"""Shared fixtures: small disks, an adapter for drivers that train nothing, no surviving process."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from .sweeping import STARTED
from .table import hand_over

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _no_driver_survives(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    hand_over(request.node)
    while STARTED:
        driver = STARTED.pop()
        if driver.poll() is None:
            driver.kill()
            driver.wait()


@pytest.fixture(scope="session")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a plain PEFT adapter of the built-in model that changes what it does."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from droplora_sweep.models.resolving import BUILTIN_FOLDER

    base = AutoModelForCausalLM.from_pretrained(BUILTIN_FOLDER)
    config = LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    folder = tmp_path_factory.mktemp("adapter")
    get_peft_model(base, config).save_pretrained(str(folder))
    (folder / "README.md").unlink()
    return folder


@pytest.fixture
def left_folders() -> Iterator[set[Path]]:
    """To be filled with the folders that the Rays of killed drivers leave; removes them."""
    folders: set[Path] = set()
    yield folders
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
