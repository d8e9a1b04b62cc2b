"""Tasks: what a model can be asked, and what its output becomes."""
