"""A task that the service does not have: it picks the classes that are likelier than the mean, as many as there are.

It registers itself and nothing else. What works with it works with a detector, whose outputs differ in number as well.
"""
