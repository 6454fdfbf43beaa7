"""The storage of these tests is an S3 bucket."""

from __future__ import annotations

import pytest


@pytest.fixture
def url(s3_url: str) -> str:
    """An empty bucket's URL, as a user gives it."""
    return s3_url
