"""What takes too long for every commit: `make stress`."""
