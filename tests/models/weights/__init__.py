"""Tests of weights: download, verification, conversion and installation."""
