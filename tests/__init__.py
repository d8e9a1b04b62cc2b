"""The specification of the service: the names of the tests are its sentences."""
