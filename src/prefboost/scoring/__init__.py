"""Scorers: completions in, scored completions out, one completion at a time."""
