"""The recipes of the built-in models: their parts by themselves, and whole runs on a handful of drawn pictures."""
