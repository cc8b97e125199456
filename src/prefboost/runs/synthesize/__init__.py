"""`synthesize`: prompts in, preference pairs out; and their audit."""
