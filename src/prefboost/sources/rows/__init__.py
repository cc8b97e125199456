"""Rows: raw records of a known layout to rows of declared tables, with the faults of each."""
