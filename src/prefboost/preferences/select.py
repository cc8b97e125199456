"""`select`: what is kept of a table before it is paired or trained on; everything left out is counted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import polars as pl
from pydantic import Field

from prefboost.preferences.draw import seeded_rank
from prefboost.preferences.ngrams import ngram_hashes, normalised
from prefboost.settings import Settings
from prefboost.tables import REJECTS, Step, Table, reject_where

__all__ = ["Select", "decontaminate", "prompt_text", "select", "split"]

Script = Literal["latin", "cyrillic", "greek", "arabic", "hebrew", "devanagari", "han", "kana", "hangul", "thai"]

_SCRIPTS: dict[Script, str] = {
    "latin": r"\p{Latin}",
    "cyrillic": r"\p{Cyrillic}",
    "greek": r"\p{Greek}",
    "arabic": r"\p{Arabic}",
    "hebrew": r"\p{Hebrew}",
    "devanagari": r"\p{Devanagari}",
    "han": r"\p{Han}",
    "kana": r"[\p{Hiragana}\p{Katakana}]",
    "hangul": r"\p{Hangul}",
    "thai": r"\p{Thai}",
}


class Select(Settings):
    """Which rows are kept. Every limit is off by default."""

    dedupe: Literal["none", "exact"] = Field(
        "exact", description="exact: rows whose prompt and completions were seen before are left out."
    )
    max_prompt_chars: int | None = Field(None, ge=1, description="Most characters of a prompt, all turns together.")
    min_completion_chars: int | None = Field(None, ge=0, description="Fewest characters of a completion.")
    max_completion_chars: int | None = Field(None, ge=1, description="Most characters of a completion.")
    scripts: tuple[Script, ...] = Field(
        (), description="Writing systems kept: at least half of a row's letters are in them; a stand-in for language."
    )
    ngram: int = Field(13, ge=1, description="Words that must coincide for a prompt to count as contaminated.")


def _text(column: str) -> pl.Expr:
    return pl.col(column).list.eval(pl.element().struct.field("content")).list.join("\n")


def prompt_text() -> pl.Expr:
    """The prompt's messages' contents, joined by newlines."""
    return _text("prompt")


def _sides(table: Table) -> list[str]:
    return [name for name in ("completion", "chosen", "rejected") if name in table.frame.columns]


def select(table: Table, how: Select | None = None) -> Table:
    """Keep the rows that pass every limit.

    Args:
        table: any declared table.
        how: the limits.

    Returns:
        The same kind of table; rows left out are rejects with their reason.
    """
    how = how if how is not None else Select()
    frame, parts = table.frame, []
    for reason, bad in _limits(table, how):
        frame, rejects = reject_where(frame, bad, stage="select", reason=reason, path=table.path)
        parts.append(rejects)
    if how.dedupe == "exact":
        seen = pl.struct("prompt", *_sides(table)).hash(0)
        # Hashed 64-bit keys: two different rows of a million coincide with a chance of 3e-8.
        frame, rejects = reject_where(
            frame.with_columns(_key=seen),
            ~pl.col("_key").is_first_distinct(),
            stage="select",
            reason="the same prompt and completions were seen before",
            path=table.path,
        )
        frame = frame.drop("_key")
        parts.append(rejects)
    return _then(table, "select", how.model_dump(), frame, parts)


def _limits(table: Table, how: Select) -> list[tuple[str, pl.Expr]]:
    lengths = [_text(side).str.len_chars() for side in _sides(table)]
    letters = pl.concat_str([_text(name) for name in ("prompt", *_sides(table))])
    inside = "|".join(_SCRIPTS[script] for script in how.scripts)
    few = (
        pl.lit(False)
        if not how.scripts
        else letters.str.count_matches(inside) * 2 < letters.str.count_matches(r"\p{L}")
    )
    named: list[tuple[str, object, pl.Expr | None]] = [
        ("the prompt is too long", how.max_prompt_chars, prompt_text().str.len_chars() > (how.max_prompt_chars or 0)),
        (
            "a completion is too short",
            how.min_completion_chars,
            pl.any_horizontal(length < (how.min_completion_chars or 0) for length in lengths) if lengths else None,
        ),
        (
            "a completion is too long",
            how.max_completion_chars,
            pl.any_horizontal(length > (how.max_completion_chars or 0) for length in lengths) if lengths else None,
        ),
        (f"most letters are not {' or '.join(how.scripts)}", how.scripts, few),
    ]
    return [(reason, bad) for reason, wanted, bad in named if wanted and bad is not None]


def _then(
    table: Table, verb: str, settings: dict[str, object], frame: pl.DataFrame, parts: list[pl.DataFrame]
) -> Table:
    rejects = pl.concat(parts) if parts else pl.DataFrame(schema=REJECTS)
    step = Step(
        verb,
        settings,
        rows_in=len(table),
        rows_out=frame.height,
        rejected=dict(rejects["reason"].value_counts().sort("reason").iter_rows()),
    )
    return table.then(table.spec, frame, step, rejects=rejects)


def decontaminate(table: Table, against: Iterable[str], *, ngram: int = 13) -> Table:
    """Leave out rows whose prompt shares a word n-gram with any of the given texts.

    Args:
        table: any declared table.
        against: prompts of benchmarks.
        ngram: words that must coincide; a shorter text must coincide as a whole.
    """
    known = ngram_hashes(pl.Series(list(against), dtype=pl.String), ngram)["gram"]
    found = ngram_hashes(table.frame.select(text=prompt_text())["text"], ngram)
    hit = found.filter(pl.col("gram").is_in(known.implode()))["at"].unique()
    frame, rejects = reject_where(
        table.frame.with_row_index("_at"),
        pl.col("_at").is_in(hit.implode()),
        stage="select",
        reason="the prompt shares words with a benchmark's",
        path=table.path,
        found=prompt_text(),
    )
    return _then(table, "decontaminate", {"ngram": ngram, "texts": known.len()}, frame.drop("_at"), [rejects])


def split(table: Table, fraction: float, *, seed: int = 42) -> tuple[Table, Table]:
    """Divide a table by prompt: all rows of a prompt, told by its normalised text, stay on one side.

    The side of a prompt depends on the seed and its text alone, so shards and later additions agree.

    Args:
        table: any declared table.
        fraction: share of the prompts on the second side, 0..1.
        seed: another seed gives another division.

    Returns:
        The larger part, and the part set aside.
    """
    keyed = table.frame.with_columns(_key=normalised(prompt_text()))
    aside = keyed.select(held=seeded_rank(seed, "_key").cast(pl.Float64) / (2.0**64) < fraction)["held"]
    parts = []
    for name, mask in (("kept", ~aside), ("set aside", aside)):
        frame = table.frame.filter(mask)
        step = Step(
            "split",
            {"fraction": fraction, "seed": seed},
            rows_in=len(table),
            rows_out=frame.height,
            notes={"part": name},
        )
        parts.append(table.then(table.spec, frame, step))
    return parts[0], parts[1]
