"""A task that the service does not have. It picks the classes that are likelier than the mean, as many as there are.

The tests only register it. What works with it also works with a detector, whose outputs differ in number as well.
"""
