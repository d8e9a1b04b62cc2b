"""The models that `run` serves: which they are, their archives, and their changes while it runs."""
