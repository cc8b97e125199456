"""`evaluate`: models on the papers' benchmarks, compared and scored again."""
