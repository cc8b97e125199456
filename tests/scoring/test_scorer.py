"""Scorers are chosen by kind."""

from __future__ import annotations

from typing import Annotated, get_args

from pydantic import TypeAdapter

from prefboost.scoring import SCORERS, Scorer
from prefboost.settings import Settings, choice


def test_every_built_in_scorer_scores_and_is_chosen_by_its_kind() -> None:
    adapter: TypeAdapter[Settings] = TypeAdapter(Annotated[Settings, choice(SCORERS)])
    for kind, scorer in SCORERS.items():
        assert isinstance(adapter.validate_python(kind), scorer)
        assert callable(scorer.score)  # type: ignore[attr-defined]
        assert get_args(scorer.model_fields["kind"].annotation) == (kind,)
    assert callable(Scorer.score)
