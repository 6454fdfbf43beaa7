"""Sweeps without groups, as tests of the ledger make them."""

from tests.ledger.conftest import driver, make_driver

__all__ = ["driver", "make_driver"]
