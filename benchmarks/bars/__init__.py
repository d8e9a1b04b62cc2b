"""Measurement of the speed targets ("bars") of this service."""
