"""The regressor scorer: ridge regression on sentence embeddings, and its fit."""
