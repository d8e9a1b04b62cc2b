"""Tests of the networks against the official package, timm, the released key lists and the papers' formulas."""
