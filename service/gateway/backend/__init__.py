"""The client of TorchServe: batching, failover, circuit breakers, connections."""
