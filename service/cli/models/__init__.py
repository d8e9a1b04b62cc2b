"""The command `models`: the models of a store, their weights, and those of a running service."""
