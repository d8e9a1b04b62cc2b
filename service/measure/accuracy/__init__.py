"""Accuracy: the scores of models on labelled data sets."""
