"""The commands that measure models on images, and write what they found to the card."""
