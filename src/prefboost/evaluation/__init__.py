"""Benchmarks: what a judge is asked, what its reply says, and what scores come of it."""
