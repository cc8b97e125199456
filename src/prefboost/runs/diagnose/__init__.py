"""Diagnoses of trained policies: what a training changed, and a report of it."""
