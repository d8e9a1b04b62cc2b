"""Bodies of requests, parsed into uploads."""
