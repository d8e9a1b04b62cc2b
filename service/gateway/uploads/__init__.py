"""Uploads: reading bodies, and decoding images in isolated processes."""
