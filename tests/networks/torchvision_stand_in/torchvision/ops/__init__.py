"""The stand-in for `torchvision.ops`."""
