"""Tests of the measurement of a model without serving."""
