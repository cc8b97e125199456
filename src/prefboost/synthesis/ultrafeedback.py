"""UltraFeedback (arXiv 2310.01377): completions of a pool of models, rated aspect by aspect, best against another."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from prefboost.engines.engine import Request, Sampling
from prefboost.engines.kinds import ENGINES, EngineSettings
from prefboost.preferences import PAIR_STRATEGIES, BestVsRandom, PairStrategy, pair
from prefboost.scoring.scorer import SCORERS, Scorer
from prefboost.settings import Settings, choice
from prefboost.synthesis.aspects import seed_random
from prefboost.synthesis.calls import ModelCalls, model_name
from prefboost.synthesis.filters import Filters
from prefboost.synthesis.proposal import Draft, PromptItem, Proposal, build_draft
from prefboost.synthesis.scored import build_completions_table, mark_unscored, name_scorer, read_scores
from prefboost.tables import SCORED_COMPLETIONS

__all__ = ["UltraFeedbackPairs"]

NO_PAIR = "no two different scores among the completions"


class UltraFeedbackPairs(Settings):
    """Completions of several models, each scored; a strategy pairs them. Set ``scorer.rubric: ultrafeedback``."""

    kind: Literal["ultrafeedback"] = Field("ultrafeedback", description="A pool of models and a rater.")
    pool: tuple[Annotated[EngineSettings, choice(ENGINES)], ...] = Field(
        description="Models that write; name one twice to get two of its completions.", min_length=1
    )
    scorer: Annotated[Scorer, choice(SCORERS)] = Field(description="Scorer: a rater, or any other.")
    n: int = Field(4, ge=2, description="Completions per prompt, each of another member of the pool, drawn.")
    pair: Annotated[PairStrategy, choice(PAIR_STRATEGIES)] = Field(
        BestVsRandom(), description="Pairs to make of a prompt's completions."
    )
    sampling: Sampling = Field(Sampling(), description="Sampling of tokens.")
    seed: int = Field(0, description="Seed of the draw of models.")
    filters: Filters = Field(Filters(), description="Filters that reject a pair.")

    @model_validator(mode="after")
    def _enough_models(self) -> UltraFeedbackPairs:
        if self.n > len(self.pool):
            raise ValueError(f"n is {self.n}, and the pool has {len(self.pool)} members; name more, or set n lower")
        return self

    def propose(self, items: Sequence[PromptItem], calls: ModelCalls) -> list[Proposal]:
        """Write, rate and pair completions (see `prefboost.synthesis.method.Method`)."""
        drafts = self._write_drafts(items, calls)
        score = calls.score(self.scorer, build_completions_table(items, drafts))
        scores = read_scores(score)
        faults = [
            next((draft for draft in drafts_of_item if draft.fault is not None), drafts_of_item[0])
            for drafts_of_item in mark_unscored(items, drafts, score)
        ]
        proposals: dict[str, list[Proposal]] = {item.prompt_id: [] for item in items}
        places = {item.prompt_id: at for at, item in enumerate(items)}
        rows: list[tuple[str, str]] = []
        if score.spec is SCORED_COMPLETIONS and score.frame["score"].count():
            rows = pair(score, self.pair).frame.select("prompt_id", "pair_id").rows()
        for name, pair_id in rows:
            # A pair's id ends with the numbers of its completions, the better one first.
            numbers = re.search(r"/(\d+)~/(\d+)$", pair_id)
            if numbers is None:
                continue
            better, worse = int(numbers[1]), int(numbers[2])
            at, sides = places[name], (scores[name, better], scores[name, worse])
            lineage = {"pool": [draft.model for draft in drafts[at]], "scorer": name_scorer(self.scorer),
                       "aspects": [head for head in sides[0] if head]}  # fmt: skip
            proposals[name].append(
                Proposal(items[at], drafts[at][better], drafts[at][worse], 1.0, f"{better}~{worse}", lineage, sides)
            )
        return [
            each
            for at, item in enumerate(items)
            for each in proposals[item.prompt_id]
            or [Proposal(item, faults[at], Draft(), fault=faults[at].fault or (NO_PAIR, faults[at].text))]
        ]

    def decide(self, proposals: Sequence[Proposal]) -> list[Proposal]:
        """Return all of them as they are."""
        return list(proposals)

    def _write_drafts(self, items: Sequence[PromptItem], calls: ModelCalls) -> list[list[Draft]]:
        """Write, for every prompt, completions of the members that were drawn for it."""
        picked = [
            seed_random(self.seed, "pool", item.prompt_id).sample(range(len(self.pool)), self.n) for item in items
        ]
        drafts: list[dict[int, Draft]] = [{} for _ in items]
        for member, engine in enumerate(self.pool):
            mine = [at for at in range(len(items)) if member in picked[at]]
            # A model named twice is asked for its next sample, or both completions would be the same stored one.
            again = sum(previous == engine for previous in self.pool[:member])
            requests = [Request([dict(m) for m in items[at].prompt], again) for at in mine]
            outcomes = calls.completions("completions", engine, requests, self.sampling)
            for at, outcome in zip(mine, outcomes, strict=True):
                drafts[at][member] = build_draft(outcome, model_name(engine))
        return [
            [drafts_by_member[member] for member in members]
            for drafts_by_member, members in zip(drafts, picked, strict=True)
        ]
