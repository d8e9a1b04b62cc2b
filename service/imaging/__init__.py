"""Images: bytes to pixels, pixels to network input, masks and heat maps to files."""
