"""Judges: pairs of completions in, verdicts out, each pair shown in both orders."""
