"""The engine and the service on this machine's GPU."""
