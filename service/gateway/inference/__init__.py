"""Inference requests: the model registry, versions, the response cache, readiness, shadow traffic."""
