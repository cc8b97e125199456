"""Policies: goal pairs to units, the trainer on log-probs, and the call that trains one."""
