"""Programs that measure this service beside others. They are not part of the product; see docs/benchmarks.md."""
