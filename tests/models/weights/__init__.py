"""Weights: fetched, checked, converted, put in their place."""
