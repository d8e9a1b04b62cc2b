"""The speed targets: measured, and held against the numbers that they must reach."""
