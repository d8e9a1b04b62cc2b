"""The contestants' programs, each as its own documentation writes it, around the one model."""
