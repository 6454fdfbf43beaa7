from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.training.byte_model import make_tokenizer, save_model

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedTokenizerFast


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return make_tokenizer()


@pytest.fixture(scope="session")
def saved_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random byte-level Llama of one layer."""
    return save_model(tmp_path_factory.mktemp("model"), num_layers=1)
