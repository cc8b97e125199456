"""Forms of side-by-side data: two completions in one record, and what says which of them is better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from prefboost.sources.columns import find_dtype, find_first_column
from prefboost.sources.layouts.part_lookup import PartLookup

__all__ = ["COMPARISONS", "STATED", "Comparison", "find_comparison"]


@dataclass(frozen=True)
class Comparison:
    """Two completions side by side and what says which is better.

    Args:
        first, second: the columns of the completions.
        preference: the column that says which is better; of ``scores`` and ``flags`` that of the second side, the
            first side's being ``opposite``.
        reads: a key of `STATED`.
        prompt: column of the prompt where it has a name of its own; "" where both sides hold whole conversations.
        opposite: the column of the first side, where each side has one.
        scores: the columns of the two completions' scores, read where both are there.
    """

    first: str
    second: str
    preference: str
    reads: str
    prompt: str | None = None
    opposite: str | None = None
    scores: tuple[str, str] | None = None


COMPARISONS = (
    Comparison("response1", "response2", "overall_preference", "sign"),
    Comparison("response_1", "response_2", "preference_strength", "sign"),
    Comparison("response_0", "response_1", "better_response_id", "index"),
    Comparison("response_0", "response_1", "safer_response_id", "index"),
    Comparison("response_a", "response_b", "label", "index"),
    Comparison("output_1", "output_2", "label", "number"),
    Comparison("human_ref_A", "human_ref_B", "labels", "one is first", "history", None, ("score_A", "score_B")),
    Comparison("response_a", "response_b", "winner_model_b", "flags", opposite="winner_model_a"),
    Comparison("conversation_a", "conversation_b", "winner", "words", prompt=""),
    Comparison("response_a", "response_b", "winner", "words"),
    Comparison("answer_0", "answer_1", "score_1", "scores", "question.full_text", "score_0", ("score_0", "score_1")),
    *(
        Comparison(first, second, score_second, "scores", opposite=score_first, scores=(score_first, score_second))
        for first, second, score_first, score_second in (
            ("answer_0", "answer_1", "score_0", "score_1"),
            ("response_a", "response_b", "score_a", "score_b"),
            ("response_0", "response_1", "score_0", "score_1"),
            ("response_1", "response_2", "score_1", "score_2"),
            ("completion_a", "completion_b", "score_a", "score_b"),
        )
    ),
)
"""Forms in use, in this order: HelpSteer3, HelpSteer2-Preference, PKU-SafeRLHF (helpful or safe), a label of 0 or 1 for
the better of two (anything else is a tie) as comparisons of judges and people are often kept, OffsetBias and LLMBar
(1 or 2), SHP (1: the first), battles of the chatbot arena (as a competition and as conversations), WebGPT, two scores.
"""

PAIR_PARTS = ("prompt_id", "pair_id", "pair_weight", "source", "split")

WINNERS = {
    **dict.fromkeys(("model_a", "a", "first", "left", "response_a", "assistant_a", "conversation_a"), -1.0),
    **dict.fromkeys(("model_b", "b", "second", "right", "response_b", "assistant_b", "conversation_b"), 1.0),
    **dict.fromkeys(("tie", "tie (bothbad)", "both_bad", "bothbad", "both", "neither", "draw"), 0.0),
}
"""Words for the better of two -> sign."""


def _compare_codes(first: float, second: float) -> Callable[[pl.Expr], pl.Expr]:
    def sign(value: pl.Expr) -> pl.Expr:
        return pl.when(value == first).then(-1.0).when(value == second).then(1.0).when(value.is_not_null()).then(0.0)

    return sign


STATED: dict[str, Callable[[pl.Expr], pl.Expr]] = {
    "sign": lambda value: value.sign(),
    "index": _compare_codes(0, 1),
    "number": _compare_codes(1, 2),
    "one is first": _compare_codes(1, 0),
    "words": lambda value: (
        value.str.strip_chars().str.to_lowercase().replace_strict(WINNERS, default=None, return_dtype=pl.Float64)
    ),
    "scores": lambda value: value.sign(),
    "flags": lambda value: value.sign(),
}
"""Ways to read a preference: as -1 (the first is better), 1 (the second), 0 (a tie) or null (unknown). ``words`` reads
text, the others numbers: ``scores`` and ``flags`` what the second side has more than the first.
"""


def find_comparison(part_of: PartLookup) -> dict[str, str] | None:
    """Find the parts of the first form that fits: first, second, preference, reads, prompt and others that exist."""
    schema = part_of.schema
    for form in COMPARISONS:
        names = {word: find_first_column(schema, (getattr(form, word),)) for word in ("first", "second", "preference")}
        if form.opposite:
            names["opposite"] = find_first_column(schema, (form.opposite,))
        columns = {word: name for word, name in names.items() if name}
        if len(columns) < len(names):
            continue
        specific = form.prompt and find_dtype(schema, form.prompt) is not None and "prompt" not in part_of.named
        prompt = form.prompt if specific else part_of("prompt")
        # Conversations of an arena hold the prompt in both sides; a column named prompt is another thing there.
        if form.prompt == "" and isinstance(schema[columns["first"]], pl.List | pl.Array):
            prompt = prompt if "prompt" in part_of.named else None
        elif not prompt:
            continue
        parts = part_of.find_prompt(*PAIR_PARTS, **columns, reads=form.reads)
        parts = {**parts, "prompt": prompt} if prompt else {part: at for part, at in parts.items() if part != "prompt"}
        if prompt and prompt == parts.get("history"):
            del parts["history"]
        if form.reads == "sign":
            # How much better is a weight in a reward model's loss: scaled Bradley-Terry (arXiv 2410.01257, section 3).
            parts.setdefault("pair_weight", columns["preference"])
        scores = [find_first_column(schema, (name,)) for name in form.scores or ()]
        if all(scores):
            parts |= {f"score_{side}": name for side, name in zip(("first", "second"), scores, strict=False) if name}
        return parts
    return None
