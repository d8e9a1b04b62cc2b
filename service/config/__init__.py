"""Configuration: settings, API keys, traffic shares, and the cores that processes may use."""
