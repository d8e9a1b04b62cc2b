"""The processes of one host: TorchServe, gateways, their slots, logs and health."""
