"""Reproductions of a comparison: arms by settings and seeds, in one folder that resumes."""
