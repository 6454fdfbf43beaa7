"""A Ray cluster of two raylets on this machine, started as a user starts one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.raylets import running_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.raylets import Cluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two raylets with one CPU each: a group of two workers spans both."""
    with running_cluster([1, 1]) as cluster:
        yield cluster
