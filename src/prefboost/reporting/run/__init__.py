"""Sections of a run's report: what was trained, on which data, with which outcome and at which cost."""
