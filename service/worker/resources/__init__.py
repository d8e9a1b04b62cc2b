"""What a worker process uses of its host: memory and GPUs."""
