"""Tests of what trainings share, of the linear head, and of the fine-tuning."""
