"""MT-Bench: two turns, graded one by one or compared in pairs."""
