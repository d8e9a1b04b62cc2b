"""Batches of images: their passes through an engine, and which of them share a pass."""
