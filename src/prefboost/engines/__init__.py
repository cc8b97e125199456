"""Engines: whatever completes prompts. Nothing heavy is imported before an engine is opened."""
