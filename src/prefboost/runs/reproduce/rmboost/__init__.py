"""The comparison of RMBoost (arXiv 2407.16008) with its rivals: pairs of each, a reward model on each, accuracy."""
