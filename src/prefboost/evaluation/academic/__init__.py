"""GSM8K, GPQA, MuSR, TruthfulQA, BBH and ARC by lm-evaluation-harness."""
