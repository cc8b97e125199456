"""Rows that are rejected: taken out of a frame, each with a fixed reason, by which they are counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

__all__ = ["REJECTS", "count_reasons", "order_by_reason", "reject_coded", "reject_faulty", "reject_where"]

REJECTS = pl.Schema(
    {
        "stage": pl.String,  # the verb that rejected the row
        "path": pl.String,  # the file it came from
        "row": pl.Int64,  # its record number in that file, from 0
        "id": pl.String,  # prompt_id, completion_id or pair_id, whatever is known
        "reason": pl.String,  # one of few fixed sentences, so that they can be counted
        "found": pl.String,  # the offending value, shortened
    }
)
"""Columns of the rejects of every table."""


def count_reasons(rejects: pl.DataFrame) -> dict[str, int]:
    """Count rejects by their reason, in the order of the alphabet."""
    return dict(rejects["reason"].value_counts().sort("reason").iter_rows())


def order_by_reason(rejects: pl.DataFrame, reasons: Sequence[str]) -> pl.DataFrame:
    """Put rejects in the order of some reasons, those of one reason as they stand."""
    if rejects.is_empty():
        return rejects
    rank = pl.col("reason").replace_strict(list(reasons), range(len(reasons)), default=len(reasons))
    return rejects.sort(rank, maintain_order=True)


def reject_where(
    frame: pl.DataFrame, bad: pl.Expr, *, stage: str, reason: str, path: str | None, value: pl.Expr | None = None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split a frame into the rows that stay and a rejects frame of those where ``bad`` holds (null counts as no).

    Args:
        frame: rows; ``row`` and one of pair_id, completion_id, prompt_id are used for the rejects when present.
        bad: boolean expression.
        stage: the verb.
        reason: a fixed sentence.
        path: the file.
        value: the offending value, cast to text and cut to 200 characters.
    """
    mask = frame.select(bad.fill_null(False).alias("bad")).to_series()
    if not mask.any():
        return frame, pl.DataFrame(schema=REJECTS)
    name = next(
        (key for key in ("goal_pair_id", "pair_id", "completion_id", "prompt_id") if key in frame.columns), None
    )
    rejects = frame.filter(mask).select(
        stage=pl.lit(stage),
        path=pl.lit(path, dtype=pl.String),
        row=pl.col("row").cast(pl.Int64) if "row" in frame.columns else pl.lit(None, dtype=pl.Int64),
        id=pl.col(name).cast(pl.String) if name else pl.lit(None, dtype=pl.String),
        reason=pl.lit(reason),
        found=(value.cast(pl.String).str.slice(0, 200) if value is not None else pl.lit(None, dtype=pl.String)),
    )
    return frame.filter(~mask), rejects


def reject_faulty(
    frame: pl.DataFrame, faults: Mapping[int, tuple[str, str]], *, stage: str, path: str | None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split a frame into the rows without a fault and a rejects frame of the others, reason by reason.

    Args:
        frame: see `reject_where`.
        faults: number of the row in the frame -> reason, a fixed sentence, and what was found.
        stage, path: see `reject_where`.
    """
    if not faults:
        return frame, pl.DataFrame(schema=REJECTS)
    nothing = (None, None)
    marked = frame.with_columns(
        _reason=pl.Series([faults.get(row, nothing)[0] for row in range(frame.height)], dtype=pl.String),
        _found=pl.Series([faults.get(row, nothing)[1] for row in range(frame.height)], dtype=pl.String),
    )
    rejects = [pl.DataFrame(schema=REJECTS)]
    # A reject has one fixed reason, by which rejects are counted; what was found stands beside it.
    for reason in dict.fromkeys(reason for reason, _ in faults.values()):
        marked, aside = reject_where(
            marked, pl.col("_reason") == reason, stage=stage, reason=reason, path=path, value=pl.col("_found")
        )
        rejects.append(aside)
    return marked.drop("_reason", "_found"), pl.concat(rejects)


def reject_coded(
    frame: pl.DataFrame,
    codes: pl.Series,
    reasons: Sequence[str],
    *,
    stage: str,
    path: str | None,
    value: pl.Expr | None = None,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split a frame by the codes of its rows into those that stay and a rejects frame, reason by reason.

    Args:
        frame: see `reject_where`.
        codes: of each row: 0, it stays; k, it is rejected for ``reasons[k - 1]``.
        reasons: fixed sentences.
        stage, path, value: see `reject_where`.
    """
    marked = frame.with_columns(codes.alias("_code"))
    rejects = [pl.DataFrame(schema=REJECTS)]
    for code, reason in enumerate(reasons, 1):
        bad = pl.col("_code") == code
        marked, aside = reject_where(marked, bad, stage=stage, reason=reason, path=path, value=value)
        rejects.append(aside)
    return marked.drop("_code"), pl.concat(rejects)
