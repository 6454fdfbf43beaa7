from __future__ import annotations

import pytest

from tests.gpu.setting import TINY, Setting


@pytest.fixture(scope="session")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    """The checks' setting on a CPU, with its model and data."""
    found = Setting(TINY, "cpu", tmp_path_factory.mktemp("gpu"))
    found.prepare()
    return found


@pytest.fixture(autouse=True)
def _caches_of_its_own(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keep tokenised data out of the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
