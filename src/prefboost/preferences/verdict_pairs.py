"""Turn verdicts into pairs: the judge's votes in both orders become a label and its probability."""

from __future__ import annotations

from typing import Literal

import polars as pl
from pydantic import Field

from prefboost.errors import DataError, Place
from prefboost.settings import Settings
from prefboost.tables import PREFERENCE_PAIRS, REJECTS, VERDICTS, Step, Table, reject_where

__all__ = ["ByVerdict", "pairs_of_verdicts"]

TIE = "the judge calls it a tie, or its two orders disagree"


class ByVerdict(Settings):
    """The rule by which verdicts become labels."""

    ties: Literal["drop", "keep"] = Field(
        "drop", description="Pairs without a winner: drop them (counted), or keep them as they are labelled, at their "
        "probability, for losses with soft labels."
    )  # fmt: skip
    tie_within: float = Field(
        0.0, ge=0.0, lt=0.5, description="Probabilities of a side this near to 0.5, the mean of both orders, are ties."
    )


def pairs_of_verdicts(table: Table, by: ByVerdict | None = None) -> Table:
    """Label preference pairs as a judge does: the side that both orders together prefer is chosen.

    Args:
        table: Verdicts, which hold the completions that were judged.
        by: what is done with ties.

    Returns:
        PreferencePairs without scores, in the order of the verdicts. ``chosen_wins`` is the probability that chosen is
        the better: the mean over both orders of ``first_wins``, or of the verdict where that is not known. Ties are
        counted rejects; pairs whose label the judge turns round are counted in the step.

    Raises:
        DataError: the table is of another kind, or nothing but ties.
    """
    if table.spec is not VERDICTS:
        raise DataError(
            f"these are {table.spec.name}, not Verdicts", remedy="judge pairs first", place=Place(path=table.path)
        )
    by = by or ByVerdict()
    pairs = _average_orders(table.frame)
    undecided = (pl.col("_wins") - 0.5).abs() <= by.tie_within
    rejects, decided = pl.DataFrame(schema=REJECTS), pairs
    if by.ties == "drop":
        decided, rejects = reject_where(
            pairs, undecided, stage="pair", reason=TIE, path=table.path, value=pl.col("_wins").round(3)
        )
    if len(pairs) and decided.is_empty():
        raise DataError(
            f"all of {len(pairs):,} verdicts are ties",
            remedy="use a judge that decides, or keep ties for soft labels",
            place=Place(path=table.path, column="verdict"),
        )
    turned = (pl.col("_wins") < 0.5) & ~undecided
    count = int(decided.select(turned.sum()).item())
    wins = pl.when(turned).then(1 - pl.col("_wins")).otherwise("_wins")
    labelled = decided.select(
        *[name for name in decided.columns if name not in ("chosen", "rejected", "_wins")],
        chosen=pl.when(turned).then("rejected").otherwise("chosen"),
        rejected=pl.when(turned).then("chosen").otherwise("rejected"),
        score_chosen=pl.lit(None, pl.Float64),
        score_rejected=pl.lit(None, pl.Float64),
        chosen_wins=wins,
    )
    step = Step(
        "pair",
        {"kind": "by_verdict", **by.model_dump()},
        rows_in=len(pairs),
        rows_out=labelled.height,
        rejected={TIE: rejects.height} if rejects.height else {},
        notes={"labels that the judge turns round": count, "rows_in_are": "judged pairs", "rows_out_are": "pairs"},
    )
    return table.derive(PREFERENCE_PAIRS, labelled, step, rejects=rejects)


def _average_orders(frame: pl.DataFrame) -> pl.DataFrame:
    """Average both orders of each judged pair.

    Returns:
        one row per pair, with the probability ``_wins`` that the side the data call chosen is the better.

    """
    vote = pl.col("verdict").replace_strict({"first": 1.0, "second": 0.0, "tie": 0.5}, return_dtype=pl.Float64)
    first = pl.coalesce("first_wins", vote)
    shown_chosen = pl.col("shown_first") == "chosen"
    wins = frame.with_columns(_wins=pl.when(shown_chosen).then(first).otherwise(1 - first))
    means = wins.group_by("pair_id", maintain_order=True).agg(pl.col("_wins").mean())
    carried = [name for name in ("row", "pair_id", "prompt_id", "prompt", "source", "split") if name in frame.columns]
    once = frame.filter(shown_chosen).select(*carried, chosen="first", rejected="second")
    return once.join(means, on="pair_id", how="left", maintain_order="left")
