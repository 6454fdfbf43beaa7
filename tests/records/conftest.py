"""Histories, as tests of the ledger make them."""

from tests.ledger.conftest import history

__all__ = ["history"]
