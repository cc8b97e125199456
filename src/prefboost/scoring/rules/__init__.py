"""Constraints that code can check: what a prompt may ask for, and whether a completion keeps to it."""
