"""Figures, pages, and the cards that travel with data and models."""
