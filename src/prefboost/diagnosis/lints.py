"""Lints: what is often wrong with preference data, each one function that counts its cases."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import polars as pl

from prefboost.diagnosis.finding import Finding, found
from prefboost.diagnosis.goal_lints import goal_unsaid, goals_said_alike, half_pairs, repeated_goal_pair
from prefboost.diagnosis.length_cue import length_cue
from prefboost.diagnosis.slim import SIDES, score_columns
from prefboost.tables import aspects_of

__all__ = ["CONTAMINATED", "LINTS", "NGRAM"]

_FEW_CHARS = 3
_FAR = 0.6
"""Of a scale's range: UltraFeedback's tens that should be ones are 0.7 to 1.0 off."""

CONTAMINATED = "contaminated"
"""Column of the rows whose prompt shares words with a benchmark's; there only where a benchmark was given."""

NGRAM = 13
"""Words in a row that prompt and benchmark must share (Brown et al. 2020, arXiv 2005.14165, appendix C)."""


def broken_fact(frame: pl.DataFrame) -> Finding | None:
    """A row breaks a fact of its table, e.g. a goal pair whose rejected completion is nearer to the goal."""
    kinds = frame["broken"].drop_nulls().value_counts(sort=True).iter_rows()
    told = "; ".join(f"{sentence} ({count:,} rows do not hold to it)" for sentence, count in kinds)
    words = (f"facts are broken: {told}", "mend the code that made the file, or make it anew with `prefboost augment`")
    return found(frame, pl.col("broken").is_not_null(), "broken_fact", "error", words)


def overall_contradicts_aspects(frame: pl.DataFrame) -> Finding | None:
    """An overall score at one end while the mean of the aspects is at the other (UltraFeedback's 10-for-1)."""
    worst: Finding | None = None
    for family in ("score", "score_chosen", "score_rejected"):
        aspects = [f"{family}.{aspect}" for aspect in aspects_of(frame.schema, family)]
        if family not in frame.columns or len(aspects) < 2:
            continue
        low, high = _range(frame, aspects)
        bottom, top = _range(frame, [family])
        if low is None or bottom is None or low == high or bottom == top:
            continue
        overall = (pl.col(family) - bottom) / (top - bottom)
        mean = (pl.mean_horizontal(aspects) - low) / (high - low)
        words = (
            f"the overall score ({family}) contradicts the mean of its aspects",
            "UltraFeedback has 2,628 tens that should be ones: read with fix_overall: drop, or score by the aspects",
        )
        seen = found(frame, (overall - mean).abs() > _FAR, "overall_contradicts_aspects", "error", words)
        if seen is not None and (worst is None or seen.count > worst.count):
            worst = seen
    return worst


def _range(frame: pl.DataFrame, columns: list[str]) -> tuple[float | None, float]:
    ends = [pl.col(name).filter(pl.col(name).is_finite()) for name in columns]
    low, high = frame.select(
        low=pl.min_horizontal(end.min() for end in ends), high=pl.max_horizontal(end.max() for end in ends)
    ).row(0)
    return low, high


def contradictory_label(frame: pl.DataFrame) -> Finding | None:
    """The rejected completion is scored above the chosen one; in goal pairs that is what a low goal means."""
    if "score_chosen" not in frame.columns or "flipped" in frame.columns:
        return None
    words = ("rejected is scored above chosen", "relabel drops them; contradictions: swap turns them round")
    bad = pl.col("score_chosen") < pl.col("score_rejected")
    return found(frame, bad, "contradictory_label", "error", words)


def both_orders(frame: pl.DataFrame) -> Finding | None:
    """One prompt has the same two completions with both labels (in goal pairs the goal decides)."""
    if "chosen_hash" not in frame.columns or "flipped" in frame.columns:
        return None
    # The few pairs whose unordered key comes again are looked at closely: a join of all would take much memory.
    unordered = pl.col("chosen_hash") ^ pl.col("rejected_hash") ^ pl.col("prompt_hash")
    again = frame.select(unordered.is_duplicated()).to_series()
    key = frame.select("prompt_hash", "chosen_hash", "rejected_hash").with_row_index("at").filter(again)
    key = key.filter(pl.col("chosen_hash") != pl.col("rejected_hash"))
    turned = key.select("prompt_hash", chosen_hash="rejected_hash", rejected_hash="chosen_hash").unique()
    hit = key.join(turned, on=["prompt_hash", "chosen_hash", "rejected_hash"], how="semi")["at"]
    words = ("the same pair stands there with both labels", "keep one of the two, or average the judgements")
    return found(frame, pl.int_range(pl.len()).is_in(hit.implode()), "both_orders", "error", words)


def same_text_other_score(frame: pl.DataFrame) -> Finding | None:
    """One completion of a prompt stands there with different scores."""
    if "score" not in frame.columns:
        return None
    kinds = pl.col("score").drop_nulls().n_unique().over("prompt_hash", "completion_hash")
    words = ("the same completion of a prompt has different scores", "average them, or keep one")
    return found(frame, kinds > 1, "same_text_other_score", "warning", words)


def same_completions(frame: pl.DataFrame) -> Finding | None:
    """Chosen and rejected differ in nothing but the space around them (equal ones are set aside when read)."""
    if "chosen_hash" not in frame.columns:
        return None
    words = ("chosen and rejected say the same, but for space around them", "leave such pairs out: they teach nothing")
    return found(frame, pl.col("chosen_hash") == pl.col("rejected_hash"), "same_completions", "error", words)


def near_empty(frame: pl.DataFrame) -> Finding | None:
    """A prompt or completion of fewer than three characters."""
    texts = [f"{name}_chars" for name in ("prompt", *SIDES) if f"{name}_chars" in frame.columns]
    words = (
        f"the prompt or a completion has fewer than {_FEW_CHARS} characters",
        "look at them; select.min_completion_chars leaves such completions out",
    )
    return found(frame, pl.any_horizontal(pl.col(name) < _FEW_CHARS for name in texts), "near_empty", "warning", words)


def encoded_conversation(frame: pl.DataFrame) -> Finding | None:
    """A text looks like an encoded conversation: JSON of messages, Python's repr, or rendered by a chat template."""
    words = (
        "a text looks like a whole conversation (JSON, or rendered by a chat template), and is taken as it stands",
        "a user who says such a text is rare: write messages instead (role, content), or leave such rows out",
    )
    return found(frame, pl.col("encoded"), "encoded_conversation", "warning", words)


def ties(frame: pl.DataFrame) -> Finding | None:
    """Both completions have the same score: they give no goal pair."""
    if "score_chosen" not in frame.columns or "flipped" in frame.columns:
        return None
    words = ("both completions have the same score", "relabel drops them, or keeps one marked row (ties: mark)")
    return found(frame, pl.col("score_chosen") == pl.col("score_rejected"), "ties", "note", words)


def duplicates(frame: pl.DataFrame) -> Finding | None:
    """The same prompt and completions again, under the same goal where there is one."""
    sides = [f"{side}_hash" for side in SIDES if f"{side}_hash" in frame.columns]
    key = ["prompt_hash", *sides, *(name for name in ("goal_key",) if name in frame.columns)]
    what = "the same prompt and completions stand" if sides else "the same prompt stands"
    words = (f"{what} there again", "select.dedupe: exact leaves them out")
    return found(frame, ~pl.struct(key).hash(0).is_first_distinct(), "duplicates", "warning", words)


def split_overlap(frame: pl.DataFrame) -> Finding | None:
    """A prompt stands in more than one split."""
    if "split" not in frame.columns:
        return None
    words = ("the prompt stands in more than one split", "divide by prompt: preferences.split never parts a prompt")
    return found(frame, pl.col("split").n_unique().over("prompt_hash") > 1, "split_overlap", "error", words)


def contamination(frame: pl.DataFrame) -> Finding | None:
    """The prompt shares words with a benchmark's."""
    if CONTAMINATED not in frame.columns:
        return None
    words = (
        f"the prompt shares a run of {NGRAM} words (or all of a shorter text) with the benchmark",
        "augment leaves such prompts out: decontaminate=[BENCHMARK]",
    )
    return found(frame, pl.col(CONTAMINATED), "contamination", "error", words)


def no_scores(frame: pl.DataFrame) -> Finding | None:
    """There are completions, and nothing has a score."""
    sided = any(f"{side}_chars" in frame.columns for side in SIDES)
    if not sided or "flipped" in frame.columns or _any_score(frame):
        return None
    sentence = "there are no scores: relabel will refuse these data (pair accepts pairs)"
    remedy = (
        "name the column of scores if there is one (columns.score=NAME; pairs: columns.score_chosen, "
        "columns.score_rejected), or score the completions first (`prefboost score`: reward model, implicit rewards)"
    )
    return Finding("no_scores", "warning", sentence, frame.height, frame.height, (), remedy)


def _any_score(frame: pl.DataFrame) -> bool:
    return any(frame[name].null_count() < frame.height for name in score_columns(frame.columns))


def score_follows_length(frame: pl.DataFrame) -> Finding | None:
    """The longer completion is mostly the better one, or mostly the worse."""
    cue = length_cue(frame)
    if cue.share is None or abs(cue.share - 0.5) < 0.1:
        return None
    more = "longer" if cue.share > 0.5 else "shorter"
    by = "has the higher score" if _any_score(frame) else "is the chosen one"
    count = round(max(cue.share, 1 - cue.share) * cue.decided)
    within = "" if cue.rho is None else f" (rank correlation within {cue.prompts:,} prompts {cue.rho:+.2f})"
    sentence = f"the {more} completion {by} in {count / cue.decided:.0%} of the decided pairs{within}"
    remedy = "report lengths beside every result; a policy may learn length instead of quality"
    return Finding("score_follows_length", "note", sentence, count, cue.decided, (), remedy)


LINTS: Mapping[str, Callable[[pl.DataFrame], Finding | None]] = {
    "broken_fact": broken_fact,
    "goal_unsaid": goal_unsaid,
    "goals_said_alike": goals_said_alike,
    "repeated_goal_pair": repeated_goal_pair,
    "overall_contradicts_aspects": overall_contradicts_aspects,
    "contradictory_label": contradictory_label,
    "both_orders": both_orders,
    "same_completions": same_completions,
    "split_overlap": split_overlap,
    "contamination": contamination,
    "no_scores": no_scores,
    "same_text_other_score": same_text_other_score,
    "encoded_conversation": encoded_conversation,
    "near_empty": near_empty,
    "duplicates": duplicates,
    "ties": ties,
    "half_pairs": half_pairs,
    "score_follows_length": score_follows_length,
}
"""Every lint by name, in the order in which findings are shown."""
