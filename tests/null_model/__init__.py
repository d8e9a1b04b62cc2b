"""A model that computes almost nothing, and a service that runs it, to test and measure everything around a network."""
