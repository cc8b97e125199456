"""The regressor scores as it was fitted, keeps embeddings in the store, and refuses another embedder."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from tests.engines.models.test_embeddings import encoder  # noqa: F401 - a fixture
from tests.scoring.conftest import completions_table, pairs_table
from tests.scoring.regressor.test_fit import judged

from prefboost.errors import ModelError
from prefboost.progress import WorkProgress
from prefboost.runs.score.score import score
from prefboost.scoring.regressor.fit import FitRegressor, fit_regressor
from prefboost.scoring.regressor.scorer import RegressorScorer

pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(importlib.util.find_spec("sklearn") is None, reason="needs the extra regressor"),
]


@pytest.fixture
def fitted(encoder: Path, tmp_path: Path) -> Path:  # noqa: F811
    fit_regressor(judged(), FitRegressor(embedder=str(encoder), device="cpu"), tmp_path / "r")
    return tmp_path / "r"


def test_it_scores_completions_and_pairs_on_the_scale_of_the_judge(fitted: Path, tmp_path: Path) -> None:
    scorer = RegressorScorer(model=str(fitted), device="cpu")
    table, told = completions_table([("new", "cat cat"), ("new", "dog dog")]), []  # type: ignore[var-annotated]
    scored = score(table, scorer, tmp_path / "s.parquet")
    liked, other = scored.frame["score"].to_list()
    assert liked == pytest.approx(9.0, abs=1.5) and other == pytest.approx(2.0, abs=1.5)
    again = score(table, scorer, tmp_path / "s.parquet", progress=told.append)
    assert again.frame.equals(scored.frame) and isinstance(told[-1], WorkProgress) and told[-1].stored == 4
    pairs = scorer.score(pairs_table([("new", "cat", "dog")]))
    assert pairs.frame["score_chosen"][0] > pairs.frame["score_rejected"][0]
    assert scored.steps[-1].notes["for"] == "plumbing and triage"


def test_another_embedder_and_a_folder_without_one_are_errors(fitted: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="fit-regressor"):
        RegressorScorer(model=str(tmp_path)).score(completions_table([("q", "a")]))
    written = json.loads((fitted / "regressor.json").read_text())
    (fitted / "regressor.json").write_text(json.dumps(written | {"embedder_identity": "another"}))
    with pytest.raises(ModelError, match="not the model"):
        RegressorScorer(model=str(fitted)).score(completions_table([("q", "a")]))
