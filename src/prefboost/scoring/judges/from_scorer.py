"""A judge made of any pointwise scorer: the completion that scores higher wins."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Literal

import polars as pl
from pydantic import Field

from prefboost.engines.call_session import CallSession
from prefboost.scoring.judges.verdicts import ORDERS, Ruling, Rulings, Verdict, check_pairs, verdicts_table
from prefboost.scoring.scorer import SCORERS, Scorer, StoredScorer
from prefboost.settings import Settings, choice, kind_of
from prefboost.tables import Table

__all__ = ["ScorerJudge", "list_margins"]

_UNSCORED = ("the scorer gave no score", "")


class ScorerJudge(Settings):
    """Compares two completions by their scores; each is scored by itself, so that the order plays no part."""

    kind: Literal["scorer"] = Field("scorer", description="Compares scores of a reward model or another scorer.")
    scorer: Annotated[Scorer, choice(SCORERS)] = Field(description="Scorer of both completions of a pair.")
    tie_within: float = Field(0.0, ge=0.0, description="Scores no further apart are a tie, in score units.")
    temperature: float | None = Field(
        None,
        gt=0,
        description="Score units by which the difference is divided for P = sigmoid(difference / temperature), 1 for a "
        "reward model trained by Bradley-Terry; none gives no probability.",
    )

    def judge(self, table: Table) -> Table:
        """See `prefboost.scoring.judges.judge.Judge`.

        Raises:
            DataError: the table holds no pairs, or none could be scored.
            ModelError: the scorer's model cannot be loaded.
        """
        return self.judge_stored(table, CallSession())

    def judge_stored(self, table: Table, session: CallSession) -> Table:
        """Score within a session: what its store holds is not computed again."""
        check_pairs(table)
        scorer = self.scorer
        scored = scorer.score_stored(table, session) if isinstance(scorer, StoredScorer) else scorer.score(table)
        fresh = scored.rejects.slice(table.rejects.height).select("id", "reason", "found").rows()
        faults = {pair: (str(reason), str(evidence)) for pair, reason, evidence in fresh}
        rulings = Rulings(len(table))
        for at, (pair, margin) in enumerate(list_margins(table, scored)):
            for first, sign in zip(ORDERS, (1, -1), strict=True):
                if margin is None:
                    rulings[at, first] = Ruling(fault=faults.get(pair, _UNSCORED))
                    continue
                # How far the first-shown side is ahead, in score units.
                ahead = margin * sign
                verdict: Verdict = "tie" if abs(ahead) <= self.tie_within else "second" if ahead < 0 else "first"
                # The sigmoid as (1 + tanh(x / 2)) / 2, which no difference of scores makes overflow.
                wins = None if self.temperature is None else (1 + math.tanh(ahead / self.temperature / 2)) / 2
                rulings[at, first] = Ruling(verdict, wins)
        notes = {name: note for name, note in scored.steps[len(table.steps)].notes.items() if note is not None}
        named = next((str(notes[name]) for name in ("model", "rater") if name in notes), kind_of(scorer))
        return verdicts_table(table, rulings, named, self.model_dump(mode="json"), notes)


def list_margins(table: Table, scored: Table) -> Iterator[tuple[str, float | None]]:
    """List the pairs of a table: the id of each, and its margin in score units, None where it has no scores."""
    every_id = (pair for frame in table.read_frames(["pair_id"]) for pair in frame["pair_id"])
    # A scorer that leaves the rows in their order, as ours do, needs no table of margins: 200 bytes per pair. Each
    # look-up goes on behind the pair before.
    if all(pair in every_id for pair, _ in _read_margins(scored)):
        margins = _read_margins(scored)
        scored_pair, margin = next(margins, (None, None))
        for frame in table.read_frames(["pair_id"]):
            for pair in frame["pair_id"]:
                if pair == scored_pair:
                    yield pair, margin
                    scored_pair, margin = next(margins, (None, None))
                else:
                    yield pair, None
        return
    margin_of = dict(_read_margins(scored))
    for frame in table.read_frames(["pair_id"]):
        for pair in frame["pair_id"]:
            yield pair, margin_of.get(pair)


def _read_margins(scored: Table) -> Iterator[tuple[str, float]]:
    margin = pl.col("score_chosen") - pl.col("score_rejected")
    for frame in scored.read_frames(["pair_id", "score_chosen", "score_rejected"]):
        yield from frame.drop_nulls().select("pair_id", margin).iter_rows()
