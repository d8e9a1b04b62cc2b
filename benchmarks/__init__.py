"""Programs that measure this service beside others; no part of the product, and no tests. See docs/benchmarks.md."""
