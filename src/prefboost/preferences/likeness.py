"""Likeness of texts: shared word n-grams, and keys that are equal for messages equal to the letter or as questions."""

from __future__ import annotations

import polars as pl

__all__ = [
    "build_exact_key",
    "build_question_key",
    "build_word_key",
    "count_text_words",
    "find_rows_with_grams",
    "hash_ngrams",
    "join_contents",
    "normalise_words",
]


def normalise_words(text: pl.Expr) -> pl.Expr:
    """Convert to lower case, with every run of anything but letters and digits as one space."""
    return text.str.to_lowercase().str.replace_all(r"[^\p{L}\p{N}]+", " ").str.strip_chars()


def hash_ngrams(texts: pl.Series, n: int) -> pl.DataFrame:
    """Hash all word n-grams.

    Args:
        texts: strings; nulls have none.
        n: words per n-gram; a text with fewer words is one n-gram by itself.

    Returns:
        Columns ``at`` (position of the text, UInt32) and ``gram`` (UInt64), one row per distinct n-gram of a text.
    """
    words = (
        pl.DataFrame({"text": texts.cast(pl.String)})
        .with_row_index("at")
        .select("at", word=normalise_words(pl.col("text")).str.split(" "))
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


def find_rows_with_grams(prompts: pl.Series, grams_to_find: pl.Series, n: int) -> pl.Series:
    """Find the prompts of which a turn, or all turns together, hold one of the given n-grams.

    Args:
        prompts: lists of messages. System messages are left out beside others: they differ where questions do not.
        grams_to_find: hashes of `hash_ngrams`.
        n: words per n-gram.
    """
    element = pl.element()
    turns = element.filter((element.struct.field("role") != "system") | (element.len() == 1)).struct.field("content")
    spoken = prompts.to_frame("m").select(turns=pl.col("m").list.eval(turns)).with_row_index("row")
    single = spoken.explode("turns").rename({"turns": "text"})
    several = spoken.filter(pl.col("turns").list.len() > 1).select("row", text=pl.col("turns").list.join("\n"))
    texts = pl.concat([single, several])
    grams = hash_ngrams(texts["text"], n)
    hit = grams.filter(pl.col("gram").is_in(grams_to_find.implode()))["at"].unique()
    return texts["row"].gather(hit).unique().sort()


def join_contents(column: str) -> pl.Expr:
    """Join the messages' contents with newlines."""
    return pl.col(column).list.eval(pl.element().struct.field("content")).list.join("\n")


def count_text_words(texts: pl.DataFrame) -> pl.DataFrame:
    """Count the words of texts: runs of anything but white space.

    Args:
        texts: columns of strings.

    Returns:
        the same columns with counts (UInt32); null for a null.
    """
    # Words cost more than all else that is measured of a text, about 40 ns each. Completions stand in several pairs,
    # and both of a pair in each of its views, so that each text is counted once. Of a million different texts two share
    # a 64-bit hash with probability 3e-8.
    hashes = texts.select(pl.all().hash(0))
    both = pl.DataFrame({"hash": pl.concat(hashes.get_columns()), "text": pl.concat(texts.get_columns())})
    words = pl.col("text").str.count_matches(r"\S+").alias("words")
    counts = both.unique("hash", keep="any").select("hash", words)
    return hashes.select(
        pl.lit(column.to_frame("hash").join(counts, on="hash", how="left", maintain_order="left")["words"]).alias(name)
        for name, column in hashes.to_dict().items()
    )


def build_exact_key(column: str) -> pl.Expr:
    """Build a text that is equal for equal messages only."""
    # The separators are control characters, which texts do not hold in practice: joining is one to one.
    fields = [pl.element().struct.field(name).fill_null("\x1d") for name in ("role", "content", "extra")]
    return pl.col(column).list.eval(pl.concat_str(fields, separator="\x1f")).list.join("\x1e")


def build_question_key(column: str = "prompt") -> pl.Expr:
    """Build a text that is equal for the same question: contents without system messages, or all if those hold no word.

    Case, punctuation and white space play no part.
    """
    turns = pl.element().filter(pl.element().struct.field("role") != "system").struct.field("content")
    return _first_with_words(normalise_words(pl.col(column).list.eval(turns).list.join("\n")), column)


def build_word_key(column: str) -> pl.Expr:
    """Join all contents without case, punctuation and white space; keep them to the letter where they hold no word."""
    return _first_with_words(normalise_words(join_contents(column)), column)


def _first_with_words(text: pl.Expr, column: str) -> pl.Expr:
    texts = [text, normalise_words(join_contents(column)), join_contents(column)]
    return pl.coalesce(*[pl.when(each != "").then(each) for each in texts], pl.lit(""))
