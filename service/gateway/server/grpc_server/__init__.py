"""The Open Inference Protocol over gRPC: each call becomes a request to the `/v2` routes of the same process."""
