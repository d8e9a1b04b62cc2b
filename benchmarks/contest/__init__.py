"""Comparison of this service with other model servers: the same model under the same load."""
