"""The whole service, with a real TorchServe."""
