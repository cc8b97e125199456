"""AlpacaEval 2, and the same question to the judge on any prompts."""
