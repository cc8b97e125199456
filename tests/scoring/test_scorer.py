"""Scorers are chosen by kind."""

from __future__ import annotations

from typing import Annotated, get_args

from pydantic import TypeAdapter

from prefboost.scoring import SCORERS, Scorer, StoredScorer
from prefboost.settings import Settings, choice


def test_every_built_in_scorer_scores_and_is_chosen_by_its_kind() -> None:
    adapter: TypeAdapter[Settings] = TypeAdapter(Annotated[Settings, choice(SCORERS)])
    for kind, scorer in SCORERS.items():
        wanted = [name for name, field in scorer.model_fields.items() if field.is_required()]
        needed = {name: {"kind": "local", "model": "m"} if name == "engine" else "m" for name in wanted}
        made = adapter.validate_python({"kind": kind, **needed})
        assert isinstance(made, scorer) and isinstance(made, StoredScorer) is (kind != "rules")
        assert callable(scorer.score)  # type: ignore[attr-defined]
        assert get_args(scorer.model_fields["kind"].annotation) == (kind,)
    assert callable(Scorer.score)
