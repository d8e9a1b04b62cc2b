"""The HTTP server: uvicorn, its protocol, and coalesced writes."""
