"""Weights: download, verification, conversion and import."""
