"""The programs of the contestants, written as in their own documentation, around the same model."""
