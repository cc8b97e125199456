"""`augment`: scored preference data in, goal-conditioned pairs out."""
