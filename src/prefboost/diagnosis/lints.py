"""Lints: common faults of preference data, one function per fault, which counts its cases."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import polars as pl

from prefboost.diagnosis.finding import Finding, build_finding
from prefboost.diagnosis.goal_lints import (
    find_goals_said_alike,
    find_half_pairs,
    find_missing_goals,
    find_repeated_goal_pairs,
)
from prefboost.diagnosis.length_cue import measure_length_cue
from prefboost.diagnosis.row_digest import COMPLETION_COLUMNS, list_score_columns
from prefboost.tables import aspects_of

__all__ = ["CONTAMINATED", "LINTS", "NGRAM"]

_FEW_CHARS = 3
_FAR = 0.6
"""Of a scale's range: UltraFeedback's tens that should be ones are 0.7 to 1.0 off."""

CONTAMINATED = "contaminated"
"""Column that marks prompts which share words with a benchmark's; only where a benchmark is given."""

NGRAM = 13
"""Consecutive words that prompt and benchmark must share (Brown et al. 2020, arXiv 2005.14165, appendix C)."""


def find_broken_facts(frame: pl.DataFrame) -> Finding | None:
    """Find rows that break a fact of their table, e.g. a goal pair whose rejected completion is nearer to the goal."""
    kinds = frame["broken"].drop_nulls().value_counts(sort=True).iter_rows()
    facts = "; ".join(f"{sentence} ({count:,} rows do not hold to it)" for sentence, count in kinds)
    words = (f"facts are broken: {facts}", "mend the code that made the file, or make it anew with `prefboost augment`")
    return build_finding(frame, pl.col("broken").is_not_null(), "broken_fact", "error", words)


def find_contradictory_overall(frame: pl.DataFrame) -> Finding | None:
    """Find overall scores at one end of the scale with the mean of the aspects at the other (as in UltraFeedback)."""
    worst: Finding | None = None
    for family in ("score", "score_chosen", "score_rejected"):
        aspects = [f"{family}.{aspect}" for aspect in aspects_of(frame.schema, family)]
        if family not in frame.columns or len(aspects) < 2:
            continue
        low, high = _measure_range(frame, aspects)
        bottom, top = _measure_range(frame, [family])
        if low is None or bottom is None or low == high or bottom == top:
            continue
        overall = (pl.col(family) - bottom) / (top - bottom)
        mean = (pl.mean_horizontal(aspects) - low) / (high - low)
        words = (
            f"the overall score ({family}) contradicts the mean of its aspects",
            "UltraFeedback has 2,628 tens that should be ones: read with fix_overall: drop, or score by the aspects",
        )
        finding = build_finding(frame, (overall - mean).abs() > _FAR, "overall_contradicts_aspects", "error", words)
        if finding is not None and (worst is None or finding.count > worst.count):
            worst = finding
    return worst


def _measure_range(frame: pl.DataFrame, columns: list[str]) -> tuple[float | None, float]:
    ends = [pl.col(name).filter(pl.col(name).is_finite()) for name in columns]
    low, high = frame.select(
        low=pl.min_horizontal(end.min() for end in ends), high=pl.max_horizontal(end.max() for end in ends)
    ).row(0)
    return low, high


def find_contradictory_labels(frame: pl.DataFrame) -> Finding | None:
    """Find pairs whose rejected completion is scored above the chosen one; in goal pairs a low goal means just that."""
    if "score_chosen" not in frame.columns or "flipped" in frame.columns:
        return None
    # Equal scores are `ties`; goal pairs are left out above, since a low goal makes the worse completion win.
    words = ("rejected is scored above chosen", "relabel drops them; contradictions: swap turns them round")
    bad = pl.col("score_chosen") < pl.col("score_rejected")
    return build_finding(frame, bad, "contradictory_label", "error", words)


def find_both_orders(frame: pl.DataFrame) -> Finding | None:
    """Find prompts that have the same two completions with both labels (in goal pairs the goal decides)."""
    if "chosen_hash" not in frame.columns or "flipped" in frame.columns:
        return None
    # Only pairs whose unordered key repeats are joined: a join of all would take much memory.
    unordered = pl.col("chosen_hash") ^ pl.col("rejected_hash") ^ pl.col("prompt_hash")
    repeats = frame.select(unordered.is_duplicated()).to_series()
    key = frame.select("prompt_hash", "chosen_hash", "rejected_hash").with_row_index("at").filter(repeats)
    key = key.filter(pl.col("chosen_hash") != pl.col("rejected_hash"))
    turned = key.select("prompt_hash", chosen_hash="rejected_hash", rejected_hash="chosen_hash").unique()
    hit = key.join(turned, on=["prompt_hash", "chosen_hash", "rejected_hash"], how="semi")["at"]
    words = ("the same pair occurs with both labels", "keep one of the two, or average the judgements")
    return build_finding(frame, pl.int_range(pl.len()).is_in(hit.implode()), "both_orders", "error", words)


def find_rescored_texts(frame: pl.DataFrame) -> Finding | None:
    """Find completions of a prompt that occur with different scores."""
    if "score" not in frame.columns:
        return None
    kinds = pl.col("score").drop_nulls().n_unique().over("prompt_hash", "completion_hash")
    words = ("the same completion of a prompt has different scores", "average them, or keep one")
    return build_finding(frame, kinds > 1, "same_text_other_score", "warning", words)


def find_same_completions(frame: pl.DataFrame) -> Finding | None:
    """Find pairs whose sides differ only in the space around them (equal ones are rejected when read)."""
    if "chosen_hash" not in frame.columns:
        return None
    words = ("chosen and rejected say the same, but for space around them", "leave such pairs out: they teach nothing")
    return build_finding(frame, pl.col("chosen_hash") == pl.col("rejected_hash"), "same_completions", "error", words)


def find_near_empty(frame: pl.DataFrame) -> Finding | None:
    """Find prompts and completions of fewer than three characters."""
    texts = [f"{name}_chars" for name in ("prompt", *COMPLETION_COLUMNS) if f"{name}_chars" in frame.columns]
    words = (
        f"the prompt or a completion has fewer than {_FEW_CHARS} characters",
        "look at them; select.min_completion_chars leaves such completions out",
    )
    return build_finding(
        frame, pl.any_horizontal(pl.col(name) < _FEW_CHARS for name in texts), "near_empty", "warning", words
    )


def find_encoded_conversations(frame: pl.DataFrame) -> Finding | None:
    """Find texts that look like encoded conversations: JSON of messages, Python's repr, or a rendered template."""
    words = (
        "a text looks like a whole conversation (JSON, or rendered by a chat template), and is taken as it stands",
        "a user who says such a text is rare: write messages instead (role, content), or leave such rows out",
    )
    return build_finding(frame, pl.col("encoded"), "encoded_conversation", "warning", words)


def find_ties(frame: pl.DataFrame) -> Finding | None:
    """Find pairs whose completions have the same score: they give no goal pair."""
    if "score_chosen" not in frame.columns or "flipped" in frame.columns:
        return None
    words = ("both completions have the same score", "relabel drops them, or keeps one marked row (ties: mark)")
    return build_finding(frame, pl.col("score_chosen") == pl.col("score_rejected"), "ties", "note", words)


def find_duplicates(frame: pl.DataFrame) -> Finding | None:
    """Find rows with the same prompt and completions, and the same goal where there is one."""
    sides = [f"{side}_hash" for side in COMPLETION_COLUMNS if f"{side}_hash" in frame.columns]
    key = ["prompt_hash", *sides, *(name for name in ("goal_key",) if name in frame.columns)]
    parts = "the same prompt and completions occur" if sides else "the same prompt occurs"
    words = (f"{parts} again", "select.dedupe: exact leaves them out")
    return build_finding(frame, ~pl.struct(key).hash(0).is_first_distinct(), "duplicates", "warning", words)


def find_split_overlap(frame: pl.DataFrame) -> Finding | None:
    """Find prompts that are in more than one split."""
    if "split" not in frame.columns:
        return None
    words = ("the prompt is in more than one split", "divide by prompt: preferences.split never parts a prompt")
    return build_finding(frame, pl.col("split").n_unique().over("prompt_hash") > 1, "split_overlap", "error", words)


def find_contamination(frame: pl.DataFrame) -> Finding | None:
    """Find prompts that share words with a benchmark's."""
    if CONTAMINATED not in frame.columns:
        return None
    words = (
        f"the prompt shares a run of {NGRAM} words (or all of a shorter text) with the benchmark",
        "augment leaves such prompts out: decontaminate=[BENCHMARK]",
    )
    return build_finding(frame, pl.col(CONTAMINATED), "contamination", "error", words)


def find_missing_scores(frame: pl.DataFrame) -> Finding | None:
    """Report completions without any score."""
    sided = any(f"{side}_chars" in frame.columns for side in COMPLETION_COLUMNS)
    if not sided or "flipped" in frame.columns or _has_any_score(frame):
        return None
    sentence = "there are no scores: relabel will refuse these data (pair accepts pairs)"
    remedy = (
        "name the column of scores if there is one (columns.score=NAME; pairs: columns.score_chosen, "
        "columns.score_rejected), or score the completions first (`prefboost score`: reward model, implicit rewards)"
    )
    return Finding("no_scores", "warning", sentence, frame.height, frame.height, (), remedy)


def _has_any_score(frame: pl.DataFrame) -> bool:
    return any(frame[name].null_count() < frame.height for name in list_score_columns(frame.columns))


def find_length_bias(frame: pl.DataFrame) -> Finding | None:
    """Report that the longer completion is mostly the better one, or mostly the worse."""
    cue = measure_length_cue(frame)
    if cue.share is None or abs(cue.share - 0.5) < 0.1:
        return None
    winner = "longer" if cue.share > 0.5 else "shorter"
    by = "has the higher score" if _has_any_score(frame) else "is the chosen one"
    count = round(max(cue.share, 1 - cue.share) * cue.decided)
    within = "" if cue.rho is None else f" (rank correlation within {cue.prompts:,} prompts {cue.rho:+.2f})"
    sentence = f"the {winner} completion {by} in {count / cue.decided:.0%} of the decided pairs{within}"
    remedy = "report lengths beside every result; a policy may learn length instead of quality"
    return Finding("score_follows_length", "note", sentence, count, cue.decided, (), remedy)


LINTS: Mapping[str, Callable[[pl.DataFrame], Finding | None]] = {
    "broken_fact": find_broken_facts,
    "goal_unsaid": find_missing_goals,
    "goals_said_alike": find_goals_said_alike,
    "repeated_goal_pair": find_repeated_goal_pairs,
    "overall_contradicts_aspects": find_contradictory_overall,
    "contradictory_label": find_contradictory_labels,
    "both_orders": find_both_orders,
    "same_completions": find_same_completions,
    "split_overlap": find_split_overlap,
    "contamination": find_contamination,
    "no_scores": find_missing_scores,
    "same_text_other_score": find_rescored_texts,
    "encoded_conversation": find_encoded_conversations,
    "near_empty": find_near_empty,
    "duplicates": find_duplicates,
    "ties": find_ties,
    "half_pairs": find_half_pairs,
    "score_follows_length": find_length_bias,
}
"""Every lint by name, in the order in which findings are shown."""
