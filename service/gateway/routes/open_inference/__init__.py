"""The Open Inference Protocol (`/v2`): routes, documents, tensors, and what clients of Triton ask beside inference."""
