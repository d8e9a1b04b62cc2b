"""Inference requests: the model registry, versions, the answer cache, readiness, shadow traffic."""
