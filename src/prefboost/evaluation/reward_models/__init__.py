"""Reward models against human preferences: pairs, RewardBench 1 and 2, RM-Bench."""
