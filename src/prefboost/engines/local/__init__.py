"""The local engine: a transformers model on this machine, its decode loop and its log-probs."""
