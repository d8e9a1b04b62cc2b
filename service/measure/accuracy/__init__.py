"""Accuracy: a model scored over a data set."""
