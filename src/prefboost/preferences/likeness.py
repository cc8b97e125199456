"""Keys of messages, as expressions over columns: equal for messages that are equal to the letter, or as questions."""

from __future__ import annotations

import polars as pl

from prefboost.preferences.ngrams import normalise_words

__all__ = ["build_question_key", "build_exact_key", "join_contents", "build_word_key"]


def join_contents(column: str) -> pl.Expr:
    """Join the messages' contents with newlines."""
    return pl.col(column).list.eval(pl.element().struct.field("content")).list.join("\n")


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
