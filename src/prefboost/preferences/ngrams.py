"""Word n-grams as hashes, for finding benchmark prompts among training prompts."""

from __future__ import annotations

import polars as pl

__all__ = ["ngram_hashes", "normalised"]


def normalised(text: pl.Expr) -> pl.Expr:
    """Lower case, with every run of anything but letters and digits as one space."""
    return text.str.to_lowercase().str.replace_all(r"[^\p{L}\p{N}]+", " ").str.strip_chars()


def ngram_hashes(texts: pl.Series, n: int) -> pl.DataFrame:
    """Hashes of all word n-grams.

    Args:
        texts: strings; nulls have none.
        n: words a gram; a text with fewer words is one gram by itself.

    Returns:
        Columns ``at`` (position of the text, UInt32) and ``gram`` (UInt64), one row a distinct gram of a text.
    """
    words = (
        pl.DataFrame({"text": texts.cast(pl.String)})
        .with_row_index("at")
        .select("at", word=normalised(pl.col("text")).str.split(" "))
        .explode("word")
        .filter(pl.col("word").is_not_null() & (pl.col("word") != ""))
        .with_columns(count=pl.len().over("at"), place=pl.int_range(pl.len()).over("at"))
    )
    whole = words.filter(pl.col("count") < n).group_by("at").agg(gram=pl.col("word").str.join(" "))
    long = words.filter(pl.col("count") >= n)
    shifted = [pl.col("word").shift(-step).over("at").alias(f"word{step}") for step in range(n)]
    grams = long.select("at", *shifted).drop_nulls() if n > 1 else long.select("at", word0="word")
    joined = grams.select("at", gram=pl.concat_str([f"word{step}" for step in range(n)], separator=" "))
    both = pl.concat([whole.select("at", "gram"), joined])
    return both.select("at", gram=pl.col("gram").hash(0)).unique()
