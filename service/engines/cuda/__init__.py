"""The engine for NVIDIA GPUs: CUDA graphs recorded for each batch size."""
