"""Other model servers beside ours: the same model, the same load."""
