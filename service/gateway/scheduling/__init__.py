"""Admission control and fair queues with wait estimates."""
