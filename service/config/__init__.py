"""Configuration: settings, API keys, traffic shares and usable cores."""
