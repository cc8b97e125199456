"""Rows before training: which ask the same question, which text is lost, which are evaluated."""
