"""The limit of a model: its throughput if serving cost nothing."""
