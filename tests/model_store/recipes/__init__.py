"""Tests of the recipes of the built-in models: their parts, and complete runs on a few synthetic images."""
