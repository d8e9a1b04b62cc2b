"""Detection: boxes of objects and, from some models, their masks."""
