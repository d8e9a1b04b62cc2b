"""The version of this client. It is sent as `User-Agent`."""

__version__ = "0.1.0"
