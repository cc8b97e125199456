"""`select`: keep the rows of a table to relabel; everything left out is counted.

Goal pairs are refused: their views share prompt and completions, so they would count as duplicates, and once a goal
is said in the prompts, the views of one pair would be split apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import polars as pl
from pydantic import Field

from prefboost.errors import DataError, Place, SettingsError
from prefboost.preferences.draw import draw_rank, draw_share
from prefboost.preferences.languages import check_languages, detect_languages
from prefboost.preferences.likeness import (
    build_question_key,
    find_rows_with_grams,
    hash_ngrams,
    join_contents,
)
from prefboost.preferences.repetition import Dedupe, find_rejected_rows
from prefboost.preferences.score_selection import SelectStrategy, select_by_score
from prefboost.settings import Settings
from prefboost.tables import GOAL_PAIRS, Step, Table, reject_where

__all__ = [
    "CountTokens",
    "Select",
    "build_question_key",
    "decontaminate",
    "prompt_text",
    "select",
    "split",
]

CountTokens = Callable[[Sequence[str]], Sequence[int]]
"""Texts -> number of tokens of each."""

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

_OTHER_ID = "the same prompt was seen before under another id"
_SEEN = "the same prompt and completions were seen before"


class Select(Settings):
    """Limits on rows. Every limit is off by default."""

    dedupe: Dedupe = Field(
        "exact",
        description="exact: leave out rows whose prompt and completions were seen before; prompt: rows whose prompt "
        "was seen under another id too.",
    )
    max_prompt_chars: int | None = Field(None, ge=1, description="Most characters of a prompt, all turns together.")
    min_completion_chars: int | None = Field(None, ge=0, description="Fewest characters of a completion.")
    max_completion_chars: int | None = Field(None, ge=1, description="Most characters of a completion.")
    max_prompt_words: int | None = Field(None, ge=1, description="Most words of a prompt, told by the space between.")
    min_completion_words: int | None = Field(None, ge=0, description="Fewest words of a completion.")
    max_completion_words: int | None = Field(None, ge=1, description="Most words of a completion.")
    max_prompt_tokens: int | None = Field(
        None, ge=1, description="Most tokens of a prompt's texts, by the tokenizer of the model to train."
    )
    max_completion_tokens: int | None = Field(
        None, ge=1, description="Most tokens of a completion's text, by the tokenizer of the model to train."
    )
    languages: tuple[str, ...] = Field(
        (),
        description="Languages kept, e.g. [en, de] (ISO 639-1), told by py3langid from a row's prompt and completions "
        "together; rows with too few words to tell stay.",
    )
    scripts: tuple[Script, ...] = Field(
        (),
        description="Writing systems kept: at least half of a row's letters are in them; faster than languages.",
    )
    ngram: int = Field(13, ge=1, description="Words that must coincide for a prompt to count as contaminated.")

    @property
    def counts_tokens(self) -> bool:
        """Whether a limit is in tokens, so that a tokenizer is needed."""
        return self.max_prompt_tokens is not None or self.max_completion_tokens is not None


def prompt_text() -> pl.Expr:
    """Join the contents of the prompt's messages with newlines."""
    return join_contents("prompt")


def _refuse_goal_pairs(table: Table, verb: str) -> None:
    if table.spec is GOAL_PAIRS:
        raise DataError(
            f"{verb} needs a table before relabel, found {table.spec.name}: the views of a pair belong together",
            remedy=f"call {verb} before relabel",
            place=Place(path=table.path),
        )


def _list_completion_columns(table: Table) -> list[str]:
    return [name for name in ("completion", "chosen", "rejected") if name in table.schema]


def select(
    table: Table, how: Select | SelectStrategy | None = None, *, count_tokens: CountTokens | None = None
) -> Table:
    """Keep the rows that pass every limit, or the completions that a strategy picks by their scores.

    Args:
        table: any declared table but GoalPairs; ScoredCompletions for a strategy.
        how: the limits; or a strategy of `prefboost.preferences.score_selection`, such as `BestOfN`.
        count_tokens: texts -> how many tokens each has; needed where a limit is in tokens.

    Returns:
        The same kind of table; rows left out are rejects with their reason.

    Raises:
        DataError: the table holds goal pairs.
        SettingsError: a limit is in tokens, and nothing counts them; or a language cannot be told.
        MissingExtra: languages are asked for, and py3langid is not installed.
    """
    _refuse_goal_pairs(table, "select")
    how = how if how is not None else Select()
    if not isinstance(how, Select):
        return select_by_score(table, how)
    if how.counts_tokens and count_tokens is None:
        raise SettingsError(
            "a limit of select is in tokens, but no tokenizer is named",
            remedy="name the model to train (tokenizer=...), or set the limit in words or characters",
        )
    limits = _list_limits(table, how, count_tokens)
    codes = find_rejected_rows(table, [bad for _, bad in limits], _list_completion_columns(table), how.dedupe)
    reasons = [*(reason for reason, _ in limits), _OTHER_ID, _SEEN]
    rows, rejects = table.split_coded(codes, reasons, stage="select")
    step = table.build_step("select", how.model_dump(), rows, rejects)
    return table.derive(table.spec, rows, step, rejects=rejects)


def _list_limits(table: Table, how: Select, count_tokens: CountTokens | None) -> list[tuple[str, pl.Expr]]:
    """List reasons with the rows that they leave out."""
    texts = {
        "prompt": [join_contents("prompt")],
        "completion": [join_contents(side) for side in _list_completion_columns(table)],
    }
    counters: dict[str, Callable[[pl.Expr], pl.Expr]] = {
        "chars": lambda text: text.str.len_chars(),
        "words": lambda text: text.str.count_matches(r"\S+"),
        "tokens": lambda text: _count_tokens(text, count_tokens),
    }
    lengths = {(part, unit): list(map(count, texts[part])) for part in texts for unit, count in counters.items()}
    most = [
        ("the prompt is too long", how.max_prompt_chars, lengths["prompt", "chars"]),
        ("the prompt has too many words", how.max_prompt_words, lengths["prompt", "words"]),
        ("the prompt has too many tokens", how.max_prompt_tokens, lengths["prompt", "tokens"]),
        ("a completion is too long", how.max_completion_chars, lengths["completion", "chars"]),
        ("a completion has too many words", how.max_completion_words, lengths["completion", "words"]),
        ("a completion has too many tokens", how.max_completion_tokens, lengths["completion", "tokens"]),
    ]
    fewest = [
        ("a completion is too short", how.min_completion_chars, lengths["completion", "chars"]),
        ("a completion has too few words", how.min_completion_words, lengths["completion", "words"]),
    ]
    limits = [(reason, pl.any_horizontal(of > at for of in each)) for reason, at, each in most if at and each]
    limits += [(reason, pl.any_horizontal(of < at for of in each)) for reason, at, each in fewest if at and each]
    letters = pl.concat_str(
        [join_contents(name) for name in ("prompt", *_list_completion_columns(table))], separator="\n"
    )
    if how.languages:
        check_languages(how.languages)
        language = letters.map_batches(detect_languages, return_dtype=pl.String, is_elementwise=True)
        limits.append((f"the language is not {' or '.join(how.languages)}", language.is_in(how.languages).not_()))
    if how.scripts:
        inside = letters.str.count_matches("|".join(_SCRIPTS[script] for script in how.scripts))
        few = inside * 2 < letters.str.count_matches(r"\p{L}")
        limits.append((f"most letters are not {' or '.join(how.scripts)}", few))
    return limits


def _count_tokens(text: pl.Expr, count_tokens: CountTokens | None) -> pl.Expr:
    def count_series(texts: pl.Series) -> pl.Series:
        return pl.Series(texts.name, count_tokens(texts.to_list()) if count_tokens else [], dtype=pl.Int64)

    return text.map_batches(count_series, return_dtype=pl.Int64, is_elementwise=True)


def decontaminate(table: Table, against: Iterable[str], *, ngram: int = 13) -> Table:
    """Leave out rows of whose prompt a turn shares a word n-gram with any of the given texts.

    Args:
        table: any declared table but GoalPairs.
        against: prompts of benchmarks.
        ngram: words that must coincide; of a shorter text, the whole turn.

    Raises:
        DataError: the table holds goal pairs.
    """
    _refuse_goal_pairs(table, "decontaminate")
    grams = hash_ngrams(pl.Series(list(against), dtype=pl.String), ngram)["gram"]
    hit = find_rows_with_grams(table.frame["prompt"], grams, ngram)
    frame, rejects = reject_where(
        table.frame.with_row_index("_at"),
        pl.col("_at").is_in(hit.implode()),
        stage="select",
        reason="the prompt shares words with a benchmark's",
        path=table.path,
        value=prompt_text(),
    )
    step = table.build_step("decontaminate", {"ngram": ngram, "texts": grams.len()}, frame, rejects)
    return table.derive(table.spec, frame.drop("_at"), step, rejects=rejects)


def split(
    table: Table, fraction: float | None = None, *, count: int | None = None, seed: int = 42
) -> tuple[Table, Table]:
    """Divide a table by prompt: all rows of a prompt, told by its normalised text, stay on one side.

    Prompts that differ in case, punctuation or system message alone count as one. With a ``fraction`` the side of a
    prompt depends on the seed and its text alone, so shards and later additions agree; a ``count`` needs the whole
    table at once.

    Args:
        table: any declared table but GoalPairs.
        fraction: share of the prompts on the second side, 0..1.
        count: number of prompts on the second side (2,000 in the data recipe of arXiv 2410.08067's code).
        seed: another seed gives another division.

    Returns:
        The larger part, and the part held out.

    Raises:
        DataError: the table holds goal pairs; not exactly one of fraction and count is given; or ``count`` leaves no
            prompt on the first side.
    """
    _refuse_goal_pairs(table, "split")
    if (fraction is None) == (count is None):
        raise DataError("split needs one of fraction and count", remedy="write split(table, 0.1) or count=2000")
    keys = table.frame.select(_key=build_question_key())
    prompts = keys.unique()
    if count is not None and not 0 < count < prompts.height:
        raise DataError(
            f"{count:,} of {prompts.height:,} prompts cannot be held out",
            remedy="set a count between 1 and one less than there are prompts",
            place=Place(path=table.path),
        )
    if fraction is not None:
        held = prompts.filter(draw_share(seed, "_key") < fraction)
    else:
        held = prompts.sort(draw_rank(seed, "_key"), "_key").head(count or 0)
    aside = keys["_key"].is_in(held["_key"].implode())
    parts = []
    for name, mask in (("kept", ~aside), ("set aside", aside)):
        frame = table.frame.filter(mask)
        step = Step(
            "split",
            {"fraction": fraction, "count": count, "seed": seed},
            rows_in=len(table),
            rows_out=frame.height,
            notes={"part": name, "prompts": held.height if name == "set aside" else prompts.height - held.height},
        )
        parts.append(table.derive(table.spec, frame, step))
    return parts[0], parts[1]
