"""Synthetic preference pairs: RMBoost and its baselines, filters, and what is measured of the pairs."""
