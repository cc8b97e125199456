"""Score scales: fitted once, stored with the data, applied again when a score is asked for."""
