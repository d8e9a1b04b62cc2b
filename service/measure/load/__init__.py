"""`resnest-service bench`: load on a running service, and what of it came back when."""
