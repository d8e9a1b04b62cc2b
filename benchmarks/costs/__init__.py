"""The cost of single parts of the service, and of their alternatives."""
