"""Tests of the engines by their outputs."""
