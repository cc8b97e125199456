"""Models of transformers: where their files are, how they are loaded, and encoders read at one token."""
