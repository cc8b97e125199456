"""PKU-SafeRLHF (PKU-Alignment/PKU-SafeRLHF): pairs judged for helpfulness and for safety, with severity of harm."""

from __future__ import annotations

from typing import Literal

import polars as pl
from pydantic import Field

from prefboost.sources.collection import Collection
from prefboost.sources.layouts.layout import Layout
from prefboost.sources.messages.conversations import write_plain_texts

__all__ = ["SafeRLHF"]

PREFERENCE = {"better": "better_response_id", "safer": "safer_response_id"}
NO_HARM = 3
"""Severity goes from 0 (none) to 3 (severe); the aspect ``safety`` is 3 - severity, so that higher is better."""


class SafeRLHF(Collection):
    """Two completions, which one is better (more helpful) and which one is safer, and how harmful each is.

    The aspect ``safety`` is 3 - severity; there is no score of helpfulness, and none is invented.
    """

    kind: Literal["safe_rlhf"] = Field("safe_rlhf", description="PKU-Alignment/PKU-SafeRLHF.")
    path: str = Field("PKU-Alignment/PKU-SafeRLHF", description="Hub id, file or folder.")
    prefer: Literal["better", "safer"] = Field("better", description="Judgement that decides what is chosen.")

    def find_makers_range(self, layout: Layout) -> tuple[float, float] | None:
        """Return 0 to 3 for the aspect ``safety`` and for the mean; there is no overall score."""
        return None if self.score == "overall" else (0.0, float(NO_HARM))

    def arrange(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Name the two sides, and their safety, by the judgement asked for."""
        choice = PREFERENCE[self.prefer]
        if not {choice, "response_0", "response_1"} <= set(frame.columns):
            return frame
        index = _parse_numbers(frame[choice]).cast(pl.Int64, strict=False)
        sides = {"chosen": pl.col("__index__"), "rejected": 1 - pl.col("__index__")}
        columns = {side: _choose_by(at, "response_0", "response_1") for side, at in sides.items()}
        severity = [f"response_{number}_severity_level" for number in (0, 1)]
        # Numbers become texts, lists and structs null, so that two columns fit into one.
        written = [write_plain_texts(frame[name]) for name in ("response_0", "response_1")]
        absent = pl.lit(None, dtype=pl.String)
        texts = frame.with_columns(each if each.dtype == pl.String else absent.alias(each.name) for each in written)
        if set(severity) <= set(frame.columns):
            texts = texts.with_columns(_parse_numbers(frame[name]) for name in severity)
            columns |= {f"score_{side}.safety": NO_HARM - _choose_by(at, *severity) for side, at in sides.items()}
        return texts.with_columns(index.alias("__index__")).with_columns(**columns).drop("__index__")


def _parse_numbers(values: pl.Series) -> pl.Series:
    """Parse numbers, also those in texts; anything else is null, whatever the other rows hold."""
    if values.dtype.is_numeric() or values.dtype == pl.String:
        return values.cast(pl.Float64, strict=False)
    return pl.Series(values.name, [None], dtype=pl.Float64).new_from_index(0, values.len())


def _choose_by(index: pl.Expr, first: str, second: str) -> pl.Expr:
    return pl.when(index == 0).then(first).when(index == 1).then(second)
