"""Access control: authentication, rate limits and the rejection cache."""
