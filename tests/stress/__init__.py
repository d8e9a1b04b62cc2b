"""Tests that take too long for every commit: `make stress`."""
