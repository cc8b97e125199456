"""`score` and `judge`: completions or pairs in, scores or verdicts out."""
