"""Answers as annotations: the files with which a labelling tool or a training program continues."""
