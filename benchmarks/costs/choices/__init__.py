"""Comparison of the chosen components between the processes with their alternatives."""
