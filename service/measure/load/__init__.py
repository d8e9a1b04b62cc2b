"""The load generator of `resnest-service bench`: it sends requests to a running service and measures the replies."""
