"""Figures that others published, computed again: what `python benchmarks/selfcheck.py` compares."""
