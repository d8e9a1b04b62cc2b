"""Code that protoc generates from `open_inference.proto`; see tests/gateway/server/grpc_server/test_generated.py."""
