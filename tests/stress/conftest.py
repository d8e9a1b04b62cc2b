"""The service of the end-to-end tests."""

from tests.e2e.conftest import served_store, service

__all__ = ["served_store", "service"]
