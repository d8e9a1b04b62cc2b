"""The command `train`: labels of one's own, on the features of a model of the store."""
