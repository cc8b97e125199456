"""How often a reward model agrees with people, and RewardBench 1 and 2 and RM-Bench."""
