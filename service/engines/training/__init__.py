"""Training of networks on labelled images, for `train` and for the recipes of the built-in models."""
