"""What `service/bench` promises, against a real HTTP server whose delays are known."""
