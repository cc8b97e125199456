"""Log-probs under the reference model: computed once, stored in the user's cache."""
