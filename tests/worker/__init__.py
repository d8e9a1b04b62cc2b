"""The handlers, without TorchServe."""
