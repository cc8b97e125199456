"""Layouts: which column of raw records holds which part of a prompt, a completion or a pair."""
