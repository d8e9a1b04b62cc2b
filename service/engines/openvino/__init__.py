"""The engine for CPUs: OpenVINO, with compiled networks cached on disk."""
