"""`pair`: several scored completions of a prompt become preference pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, Protocol

import polars as pl
from pydantic import Field

from prefboost.errors import MissingScores, Place
from prefboost.preferences.draw import draw_rank
from prefboost.preferences.score_hint import refuse_unscored_completions, suggest_score_column
from prefboost.preferences.verdict_pairs import pairs_of_verdicts
from prefboost.settings import Settings, choice, dump_with_kind
from prefboost.tables import (
    PREFERENCE_PAIRS,
    REJECTS,
    SCORED_COMPLETIONS,
    VERDICTS,
    Table,
    aspects_of,
    refuse_other_tables,
    reject_where,
)
from prefboost.tables.groups import group_numbers, refuse_shared_ids
from prefboost.tables.message_lists import compare_messages, take_rows

__all__ = [
    "PAIR_STRATEGIES",
    "Adjacent",
    "AllPairs",
    "BestVsRandom",
    "BestVsWorst",
    "MarginAtLeast",
    "PairStrategy",
    "pair",
]


class PairStrategy(Protocol):
    """A rule that decides which of a prompt's completions are compared."""

    @property
    def cap(self) -> int | None:
        """Most pairs per prompt."""

    def edges(self, ranked: pl.DataFrame) -> pl.DataFrame:
        """Choose the pairs of completions of each prompt.

        Args:
            ranked: one row per completion: ``at`` (row number, unique), ``prompt_id``, ``completion_id``, ``score``,
                ``place`` (0 for the best of its prompt; ties in order of completion_id). Rows of a prompt stand
                together, best first.

        Returns:
            Columns ``prompt_id``, ``better`` and ``worse`` (values of ``at``); equal scores may be among them.
        """


class _Pairing(Settings):
    cap: int | None = Field(None, ge=1, description="Most pairs per prompt; those of widest margin stay first.")
    ties: Literal["drop", "keep"] = Field(
        "drop",
        description="Pairs of equal scores: drop them, or keep them for relabel to mark; those read as pairs stay.",
    )


class BestVsRandom(_Pairing):
    """The best completion against a uniformly random other one (arXiv 2410.08067, data recipe)."""

    kind: Literal["best_vs_random"] = Field("best_vs_random", description="The strategy's name in recipes.")
    seed: int = Field(42, ge=0, description="Seed of the draw, which depends on nothing but it and the prompt's ids.")

    def edges(self, ranked: pl.DataFrame) -> pl.DataFrame:
        """Pair the best with one other per prompt, drawn by id (see `PairStrategy`)."""
        others = ranked.filter(pl.col("place") > 0).with_columns(
            drawn=draw_rank(self.seed, "completion_id"), group=pl.col("prompt_id").rle_id()
        )
        first = others.filter(pl.col("drawn") == pl.col("drawn").min().over("group"))
        # Two ids with the same 64-bit hash: rare, and settled by the ids, so that the draw stays determined.
        if first.height and first["group"].is_duplicated().any():
            first = first.sort("completion_id").unique("group", keep="first", maintain_order=True)
        return _join(_select_best(ranked), first.select("prompt_id", worse="at"))


class BestVsWorst(_Pairing):
    """The best completion against the worst (argmax and argmin, as on-policy recipes do; SimPO v0.2)."""

    kind: Literal["best_vs_worst"] = Field("best_vs_worst", description="The strategy's name in recipes.")

    def edges(self, ranked: pl.DataFrame) -> pl.DataFrame:
        """Pair the first with the last place of each prompt (see `PairStrategy`)."""
        last = ranked.sort("prompt_id", "place").unique("prompt_id", keep="last", maintain_order=True)
        return _join(_select_best(ranked), last.filter(pl.col("place") > 0).select("prompt_id", worse="at"))


class AllPairs(_Pairing):
    """Every two completions of a prompt."""

    kind: Literal["all_pairs"] = Field("all_pairs", description="The strategy's name in recipes.")

    def edges(self, ranked: pl.DataFrame) -> pl.DataFrame:
        """Pair every completion with all below it (see `PairStrategy`)."""
        side = ranked.select("prompt_id", "at", "place")
        crossed = side.join(side, on="prompt_id", suffix="_other")
        return crossed.filter(pl.col("place") < pl.col("place_other")).select(
            "prompt_id", better="at", worse="at_other"
        )


class Adjacent(_Pairing):
    """Neighbours in the order of scores: n completions give n - 1 pairs."""

    kind: Literal["adjacent"] = Field("adjacent", description="The strategy's name in recipes.")

    def edges(self, ranked: pl.DataFrame) -> pl.DataFrame:
        """Pair every completion with the next below it (see `PairStrategy`)."""
        ordered = ranked.sort("prompt_id", "place")
        lower = ordered.select("prompt_id", better="at", worse=pl.col("at").shift(-1).over("prompt_id"))
        return lower.drop_nulls("worse")


class MarginAtLeast(_Pairing):
    """Pairs of completions whose scores differ by at least a margin: all of them, or those of another strategy."""

    kind: Literal["margin_at_least"] = Field("margin_at_least", description="The strategy's name in recipes.")
    margin: float = Field(1.0, gt=0, description="Least difference of the two scores, in score units.")
    among: Literal["all", "best", "best_vs_worst", "adjacent"] = Field(
        "all",
        description="Candidate pairs: all, the best against every other, or as their names say.",
    )

    def edges(self, ranked: pl.DataFrame) -> pl.DataFrame:
        """Take the pairs of ``among`` whose scores differ by the margin (see `PairStrategy`)."""
        pairs = AMONG[self.among](ranked)
        scores = ranked.select("at", "score")
        wide = pairs.join(scores, left_on="better", right_on="at").join(
            scores, left_on="worse", right_on="at", suffix="_worse"
        )
        return wide.filter(pl.col("score") - pl.col("score_worse") >= self.margin).select(
            "prompt_id", "better", "worse"
        )


AMONG: dict[str, Callable[[pl.DataFrame], pl.DataFrame]] = {
    "all": AllPairs().edges,
    "best": lambda ranked: _join(
        _select_best(ranked), ranked.filter(pl.col("place") > 0).select("prompt_id", worse="at")
    ),
    "best_vs_worst": BestVsWorst().edges,
    "adjacent": Adjacent().edges,
}
"""The pairs that `MarginAtLeast` looks among."""

PAIR_STRATEGIES: dict[str, type[Settings]] = {
    "best_vs_random": BestVsRandom,
    "best_vs_worst": BestVsWorst,
    "all_pairs": AllPairs,
    "adjacent": Adjacent,
    "margin_at_least": MarginAtLeast,
}
"""Built-in strategies by kind."""

AnyPairStrategy = Annotated[PairStrategy, choice(PAIR_STRATEGIES)]


def pair(table: Table, strategy: PairStrategy | None = None) -> Table:
    """Make preference pairs.

    Args:
        table: ScoredCompletions; or PreferencePairs, of which only a strategy's ``cap`` and ``margin`` are asked; or
            Verdicts, whose pairs get the judge's label (`prefboost.preferences.verdict_pairs`).
        strategy: which pairs; default `BestVsRandom`, as published.

    Returns:
        PreferencePairs in order of the prompts; ``pair_id`` is the two completion ids' join with the prompt's.
        Completions without a score, prompts left with fewer than two completions, pairs of equal scores
        and of equal texts are counted in the rejects.

    Raises:
        MissingScores: no completion has a score.
        DataError: the table is of another kind, or different prompts have one ``prompt_id``.
    """
    strategy = strategy if strategy is not None else BestVsRandom()
    if table.spec is PREFERENCE_PAIRS:
        return _cap_pairs(table, strategy)
    if table.spec is VERDICTS:
        return _cap_pairs(pairs_of_verdicts(table), strategy)
    remedy = f"{suggest_score_column(table)}score the completions first"
    refuse_other_tables(table, SCORED_COMPLETIONS, PREFERENCE_PAIRS, task="pair", remedy=remedy)
    refuse_unscored_completions(table, "preferred")
    refuse_shared_ids(table)
    frame, unscored = reject_where(
        table.frame, pl.col("score").is_null(), stage="pair", reason="the completion has no score", path=table.path
    )
    lonely = pl.len().over("prompt_id") < 2
    frame, alone = reject_where(
        frame, lonely, stage="pair", reason="the prompt has fewer than two scored completions", path=table.path
    )
    ranked = _rank(frame)
    edges = strategy.edges(ranked)
    pairs = _gather(frame, edges)
    dropped = getattr(strategy, "ties", "drop") == "drop"
    tied = (pl.col("score_chosen") == pl.col("score_rejected")).fill_null(False) & dropped
    pairs, ties = reject_where(
        pairs, tied, stage="pair", reason="both completions have the same score", path=table.path,
        value=pl.col("score_chosen"),
    )  # fmt: skip
    pairs, same = _reject_equal_texts(pairs, table.path)
    pairs, capped = _cap(pairs, strategy.cap)
    unpaired = _reject_unpaired(frame, ranked, edges, strategy, table.path)
    rejects = pl.concat([unscored, alone, unpaired, ties, same])
    step = table.build_step(
        "pair",
        dump_with_kind(strategy),
        pairs,
        rejects,
        {"rows_in_are": "completions", "rows_out_are": "pairs", "over_the_cap": capped},
    )
    return table.derive(PREFERENCE_PAIRS, pairs, step, rejects=rejects)


def _reject_unpaired(
    frame: pl.DataFrame, ranked: pl.DataFrame, edges: pl.DataFrame, strategy: PairStrategy, path: str | None
) -> pl.DataFrame:
    """Reject each prompt of which no pair was made, named by its best-scored completion."""
    if edges["prompt_id"].n_unique() == int((ranked["place"] == 0).sum()):
        return pl.DataFrame(schema=REJECTS)
    margin = getattr(strategy, "margin", None)
    why = "the strategy pairs no two" if margin is None else f"no scores differ by {margin:g} or more between two"
    best = frame.filter(pl.col("prompt_id").is_in(edges["prompt_id"].unique().implode()).not_())
    best = best.sort("score", descending=True, maintain_order=True).unique(
        "prompt_id", keep="first", maintain_order=True
    )
    _, rejects = reject_where(
        best, pl.lit(True), stage="pair", reason=f"{why} completions of the prompt", path=path, value=pl.col("score")
    )
    return rejects


def _rank(frame: pl.DataFrame) -> pl.DataFrame:
    slim = frame.lazy().select("prompt_id", "completion_id", "score").with_row_index("at").collect()
    slim = slim.with_columns(group=group_numbers(slim["prompt_id"]))
    again = pl.col("group") == pl.col("group").shift(1)
    risen = slim.select((again & (pl.col("completion_id") < pl.col("completion_id").shift(1))).any().not_()).item()
    # A stable sort keeps ties in order of their ids where the ids already are; sorting by texts takes far longer.
    ordered = (
        slim.sort("group", "score", descending=[False, True], maintain_order=True)
        if risen and slim["group"].is_sorted()
        else slim.sort("group", "score", "completion_id", descending=[False, True, False])
    )
    return ordered.with_columns(place=pl.int_range(pl.len()).over("group")).drop("group")


def _select_best(ranked: pl.DataFrame) -> pl.DataFrame:
    return ranked.filter(pl.col("place") == 0).select("prompt_id", better="at")


def _join(better: pl.DataFrame, worse: pl.DataFrame) -> pl.DataFrame:
    return better.join(worse, on="prompt_id").select("prompt_id", "better", "worse")


def _gather(frame: pl.DataFrame, edges: pl.DataFrame) -> pl.DataFrame:
    """Gather the texts of the pairs: the payload is taken once, by row number."""
    # A join promises no order: sorted, the pairs come out the same every time, in the order of the file.
    edges = edges.sort("better", "worse")
    better, worse = edges["better"], edges["worse"]
    aspects = [f"score.{aspect}" for aspect in aspects_of(frame.schema, "score")]
    shared = [name for name in ("row", "prompt_id", "prompt", "source", "split") if name in frame.columns]
    sided = ["completion", "score", *aspects, *(["finish_reason"] if "finish_reason" in frame.columns else [])]
    left = take_rows(frame.select(*shared, "completion_id", *sided), better)
    right = take_rows(frame.select("completion_id", *sided), worse)
    left = left.rename({name: _name_side_column(name, "chosen") for name in sided})
    right = right.rename({"completion_id": "other_id", **{name: _name_side_column(name, "rejected") for name in sided}})
    return left.hstack(right).with_columns(
        pair_id=pl.concat_str("completion_id", pl.col("other_id").str.strip_prefix(pl.col("prompt_id")), separator="~")
    )


def _name_side_column(name: str, side: str) -> str:
    """Name a completion's column in a table of pairs: score.style -> score_chosen.style."""
    whole = {"completion": side, "finish_reason": f"finish_{side}"}
    return whole.get(name) or name.replace("score", f"score_{side}", 1)


def _reject_equal_texts(pairs: pl.DataFrame, path: str | None) -> tuple[pl.DataFrame, pl.DataFrame]:
    return reject_where(
        pairs,
        compare_messages("chosen", "rejected"),
        stage="pair",
        reason="both completions are the same text",
        path=path,
        value=pl.col("chosen").list.last().struct.field("content"),
    )


def _cap(pairs: pl.DataFrame, cap: int | None) -> tuple[pl.DataFrame, int]:
    if cap is None:
        return pairs, 0
    margin = (pl.col("score_chosen") - pl.col("score_rejected")).fill_null(0.0)
    order = (
        pairs.lazy()
        .select("prompt_id", "pair_id", margin=margin)
        .with_row_index("at")
        .sort("prompt_id", "margin", "pair_id", descending=[False, True, False])
        .group_by("prompt_id", maintain_order=True)
        .head(cap)
        .collect()
    )
    capped = pairs[order["at"].sort()]
    return capped, pairs.height - capped.height


def _cap_pairs(table: Table, strategy: PairStrategy) -> Table:
    pairs, rejects = _reject_equal_texts(table.frame, table.path)
    margin = getattr(strategy, "margin", None)
    if margin is not None:
        sides = [pl.col("score_chosen"), pl.col("score_rejected")]
        if pairs.height and pairs["score_chosen"].null_count() == pairs.height:
            raise MissingScores(
                f"the {pairs.height:,} pairs have no scores, so no margin can be asked of them",
                remedy="name the score columns (columns.score_chosen, columns.score_rejected), or choose another "
                "strategy",
                place=Place(path=table.path, column="score_chosen"),
            )
        # A label against the scores is left to relabel.
        pairs, narrow = reject_where(
            pairs, ((sides[0] - sides[1]).abs() < margin).fill_null(False), stage="pair",
            reason=f"the two scores differ by less than {margin:g}", path=table.path,
            value=pl.format("{} and {}", *sides),
        )  # fmt: skip
        rejects = pl.concat([rejects, narrow])
    pairs, capped = _cap(pairs, strategy.cap)
    step = table.build_step(
        "pair",
        {"cap": strategy.cap} if margin is None else {"cap": strategy.cap, "margin": margin},
        pairs,
        rejects,
        {"over_the_cap": capped, "read_as_pairs": True},
    )
    return table.derive(PREFERENCE_PAIRS, pairs, step, rejects=rejects)
