"""The commands that put load on a running service: `bench` and `capacity`."""
