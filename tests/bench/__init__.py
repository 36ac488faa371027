"""Benchmarks: what they say is committed in docs/benchmarks/, as ratios of one run."""
