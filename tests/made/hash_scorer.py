"""A scorer of someone else's: scores from 1 to 10 that differ from text to text, and two aspects."""

from __future__ import annotations

import hashlib

import polars as pl

from prefboost.settings import Settings
from prefboost.tables import SCORED_COMPLETIONS, Step, Table


class HashScorer(Settings):
    """Draws scores from a hash of the text."""

    def score(self, table: Table) -> Table:
        """See `prefboost.scoring.Scorer`."""
        texts = ["".join(str(each["content"]) for each in said) for said in table.frame["completion"].to_list()]
        drawn = [hashlib.sha256(text.encode()).digest()[:3] for text in texts]
        names = ("score", "score.depth", "score.style")
        columns = [pl.Series(name, [1 + 9 * each[at] / 255 for each in drawn]) for at, name in enumerate(names)]
        step = Step("score", {}, len(table), len(table))
        return table.derive(SCORED_COMPLETIONS, table.frame.with_columns(columns), step)
