"""The engines, by their answers."""
