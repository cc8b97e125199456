"""Reward models: rows to units of texts, their trainer, and the call that trains one."""
