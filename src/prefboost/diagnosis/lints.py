"""Lints: what is often wrong with preference data, each one function that counts its cases."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import polars as pl

from prefboost.diagnosis.slim import SIDES
from prefboost.statistics import spearman_within
from prefboost.tables import aspects_of

__all__ = ["LINTS", "Finding", "length_cue"]

Severity = Literal["error", "warning", "note"]

_EXAMPLES = 5
_FEW_CHARS = 3
_MOST_GROUPS = 20_000


@dataclass(frozen=True)
class Finding:
    """What a lint found.

    Args:
        name: of the lint.
        severity: error: such rows teach the opposite; warning: look; note: good to know.
        sentence: what it means.
        count: how many cases, of ``of``.
        rows: record numbers of the first cases.
        remedy: what to do.
    """

    name: str
    severity: Severity
    sentence: str
    count: int
    of: int
    rows: tuple[int, ...] = ()
    remedy: str = ""


def _found(frame: pl.DataFrame, bad: pl.Expr, name: str, severity: Severity, words: tuple[str, str]) -> Finding | None:
    hit = frame.filter(bad.fill_null(False))
    if hit.is_empty():
        return None
    rows = tuple(hit["row"].head(_EXAMPLES).to_list()) if "row" in hit.columns else ()
    return Finding(name, severity, words[0], hit.height, frame.height, rows, words[1])


def overall_contradicts_aspects(frame: pl.DataFrame) -> Finding | None:
    """An overall score at one end while the mean of the aspects is at the other (UltraFeedback's 10-for-1)."""
    worst: Finding | None = None
    for family in ("score", "score_chosen", "score_rejected"):
        aspects = [f"{family}.{aspect}" for aspect in aspects_of(frame.schema, family)]
        if family not in frame.columns or len(aspects) < 2 or frame[family].null_count() == frame.height:
            continue
        ends = [pl.col(name).drop_nulls() for name in aspects]
        low = frame.select(pl.min_horizontal(end.min() for end in ends)).item()
        high = frame.select(pl.max_horizontal(end.max() for end in ends)).item()
        bottom, top = frame.select(low=pl.col(family).min(), high=pl.col(family).max()).row(0)
        if low is None or low == high or bottom == top:
            continue
        overall = (pl.col(family) - bottom) / (top - bottom)
        mean = (pl.mean_horizontal(aspects) - low) / (high - low)
        words = (
            f"the overall score ({family}) contradicts the mean of its aspects",
            "UltraFeedback has 2,628 tens that should be ones: read with fix_overall: drop, or score by the aspects",
        )
        found = _found(frame, (overall - mean).abs() > 0.6, "overall_contradicts_aspects", "error", words)
        if found is not None and (worst is None or found.count > worst.count):
            worst = found
    return worst


def contradictory_label(frame: pl.DataFrame) -> Finding | None:
    """The rejected completion is scored above the chosen one."""
    if "score_chosen" not in frame.columns:
        return None
    words = ("rejected is scored above chosen", "relabel drops them; contradictions: swap turns them round")
    bad = pl.col("score_chosen") < pl.col("score_rejected")
    return _found(frame, bad, "contradictory_label", "error", words)


def both_orders(frame: pl.DataFrame) -> Finding | None:
    """One prompt has the same two completions with both labels."""
    if "chosen_hash" not in frame.columns:
        return None
    key = frame.select("row", "prompt_hash", "chosen_hash", "rejected_hash")
    turned = key.select("prompt_hash", chosen_hash="rejected_hash", rejected_hash="chosen_hash").unique()
    hit = key.join(turned, on=["prompt_hash", "chosen_hash", "rejected_hash"], how="semi")
    words = ("the same pair stands there with both labels", "keep one of the two, or average the judgements")
    return _found(
        frame.with_columns(_both=pl.col("row").is_in(hit["row"].implode())),
        pl.col("_both"), "both_orders", "error", words,
    )  # fmt: skip


def near_empty(frame: pl.DataFrame) -> Finding | None:
    """A completion of fewer than three characters."""
    sides = [f"{side}_chars" for side in SIDES if f"{side}_chars" in frame.columns]
    if not sides:
        return None
    words = (f"a completion has fewer than {_FEW_CHARS} characters", "set select.min_completion_chars")
    return _found(frame, pl.any_horizontal(pl.col(side) < _FEW_CHARS for side in sides), "near_empty", "warning", words)


def ties(frame: pl.DataFrame) -> Finding | None:
    """Both completions have the same score: they give no goal pair."""
    if "score_chosen" not in frame.columns:
        return None
    words = ("both completions have the same score", "relabel drops them, or keeps one marked row (ties: mark)")
    return _found(frame, pl.col("score_chosen") == pl.col("score_rejected"), "ties", "note", words)


def duplicates(frame: pl.DataFrame) -> Finding | None:
    """The same prompt and completions again."""
    key = ["prompt_hash", *[f"{side}_hash" for side in SIDES if f"{side}_hash" in frame.columns]]
    words = ("the same prompt and completions stand there again", "select.dedupe: exact leaves them out")
    return _found(frame, ~pl.struct(key).is_first_distinct(), "duplicates", "warning", words)


def split_overlap(frame: pl.DataFrame) -> Finding | None:
    """A prompt stands in more than one split."""
    if "split" not in frame.columns:
        return None
    words = ("the prompt stands in more than one split", "divide by prompt: preferences.split never parts a prompt")
    return _found(frame, pl.col("split").n_unique().over("prompt_hash") > 1, "split_overlap", "error", words)


def no_scores(frame: pl.DataFrame) -> Finding | None:
    """Nothing has a score."""
    names = [name for name in ("score", "score_chosen") if name in frame.columns]
    if not names or any(frame[name].null_count() < frame.height for name in names):
        return None
    sentence = "there are no scores: pair accepts this, relabel will refuse it"
    remedy = "score the completions first (reward model, judge, or implicit rewards of a policy trained on the pairs)"
    return Finding("no_scores", "warning", sentence, frame.height, frame.height, (), remedy)


def score_follows_length(frame: pl.DataFrame) -> Finding | None:
    """The longer completion mostly has the higher score."""
    share, rho = length_cue(frame)
    if share is None or abs(share - 0.5) < 0.1:
        return None
    more = "longer" if share > 0.5 else "shorter"
    within = "" if rho is None else f"; rank correlation within prompts {rho:+.2f}"
    sentence = f"the {more} completion has the higher score in {max(share, 1 - share):.0%} of the decided pairs{within}"
    remedy = "report lengths beside every result; a policy may learn length instead of quality"
    return Finding("score_follows_length", "note", sentence, round(share * frame.height), frame.height, (), remedy)


def length_cue(frame: pl.DataFrame) -> tuple[float | None, float | None]:
    """Share of decided pairs in which the longer completion wins, and Spearman's rho within prompts.

    Scored completions are compared in a hashed order, each with the next; at most 20,000 prompts enter the correlation.
    """
    if "chosen_chars" in frame.columns:
        longer = frame.filter(pl.col("chosen_chars") != pl.col("rejected_chars"))
        share = longer.select((pl.col("chosen_chars") > pl.col("rejected_chars")).mean()).item()
        return share, None
    if "score" not in frame.columns or frame["score"].null_count() == frame.height:
        return None, None
    known = (
        frame.drop_nulls("score")
        .sort("completion_hash")
        .with_columns(
            by_score=pl.col("score").diff().over("prompt_hash"), by_length=pl.col("completion_chars").cast(pl.Int64)
        )
    )
    known = known.with_columns(by_length=pl.col("by_length").diff().over("prompt_hash"))
    decided = known.filter((pl.col("by_score") != 0) & (pl.col("by_length") != 0))
    share = decided.select(((pl.col("by_score") > 0) == (pl.col("by_length") > 0)).mean()).item()
    few = known.filter(pl.col("prompt_hash").rank("dense") <= _MOST_GROUPS)
    if few.is_empty():
        return share, None
    rho = spearman_within(few["score"].to_numpy(), few["completion_chars"].to_numpy(), few["prompt_hash"].to_numpy())
    return share, None if rho.groups == 0 else rho.mean


LINTS: Mapping[str, Callable[[pl.DataFrame], Finding | None]] = {
    "overall_contradicts_aspects": overall_contradicts_aspects,
    "contradictory_label": contradictory_label,
    "both_orders": both_orders,
    "split_overlap": split_overlap,
    "no_scores": no_scores,
    "near_empty": near_empty,
    "duplicates": duplicates,
    "ties": ties,
    "score_follows_length": score_follows_length,
}
"""Every lint by name, in the order in which findings are shown."""
