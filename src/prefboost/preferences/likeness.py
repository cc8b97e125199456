"""When two messages are the same, as expressions over columns of messages: to the letter, or as questions."""

from __future__ import annotations

import polars as pl

from prefboost.preferences.ngrams import normalised

__all__ = ["asked_text", "exactly", "text_of", "worded"]


def text_of(column: str) -> pl.Expr:
    """The messages' contents, joined by newlines."""
    return pl.col(column).list.eval(pl.element().struct.field("content")).list.join("\n")


def exactly(column: str) -> pl.Expr:
    """A text that is equal for equal messages alone."""
    fields = [pl.element().struct.field(name).fill_null("\x1d") for name in ("role", "content", "extra")]
    return pl.col(column).list.eval(pl.concat_str(fields, separator="\x1f")).list.join("\x1e")


def asked_text(column: str = "prompt") -> pl.Expr:
    """What makes two prompts the same question: the contents without system messages, or all where that is no word.

    Case, punctuation and white space play no part.
    """
    turns = pl.element().filter(pl.element().struct.field("role") != "system").struct.field("content")
    return _first_with_words(normalised(pl.col(column).list.eval(turns).list.join("\n")), column)


def worded(column: str) -> pl.Expr:
    """All contents, but for case, punctuation and white space; to the letter where there is no word."""
    return _first_with_words(normalised(text_of(column)), column)


def _first_with_words(text: pl.Expr, column: str) -> pl.Expr:
    texts = [text, normalised(text_of(column)), text_of(column)]
    return pl.coalesce(*[pl.when(each != "").then(each) for each in texts], pl.lit(""))
