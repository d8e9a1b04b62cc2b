"""Evaluation: its figures against other people's, its data sets, its runs and its reports."""
