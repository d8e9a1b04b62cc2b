"""The TorchServe worker: the batching handler."""
