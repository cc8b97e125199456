"""Runs: the whole pipeline on one screen, run folders, and who does the work."""
