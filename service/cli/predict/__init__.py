"""The commands that ask a model about files: one for each endpoint of a task."""
