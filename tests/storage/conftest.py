"""The storage of these tests is a bucket, of either kind of object store."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["s3", "gs"])
def url(request: pytest.FixtureRequest) -> str:
    """An empty bucket's URL, as a user gives it."""
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found
