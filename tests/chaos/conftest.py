"""The same hasup as in the end-to-end tests."""

from tests.e2e.conftest import hasup

__all__ = ["hasup"]
