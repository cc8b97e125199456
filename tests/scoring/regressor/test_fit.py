"""The fit: whole prompts held out, figures beside length alone, JSON and safetensors on disk."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.engines.models.test_embeddings import encoder  # noqa: F401 - a fixture
from tests.scoring.conftest import completions_table

from prefboost.errors import DataError
from prefboost.scoring.regressor.fit import FitRegressor, _figures, fit_regressor
from prefboost.tables import SCORED_COMPLETIONS, Step, Table

pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(importlib.util.find_spec("sklearn") is None, reason="needs the extra regressor"),
]


def judged(prompts: int = 30) -> Table:
    """A judge that likes cats, and does not care for length."""
    texts = [
        (f"q {at}", " ".join([("dog", "cat")[(at + each) % 2]] * (1 + (7 * at + each) % 5)))
        for at in range(prompts)
        for each in range(4)
    ]
    table = completions_table(list(dict.fromkeys(texts)))
    liked = [9.0 if "cat" in messages[0]["content"] else 2.0 for messages in table.frame["completion"].to_list()]
    frame = table.frame.with_columns(score=pl.Series(liked))
    return table.derive(SCORED_COMPLETIONS, frame, Step("read", {}, len(frame), len(frame)))


def test_the_figures_are_those_of_unseen_prompts_beside_length_alone(encoder: Path, tmp_path: Path) -> None:  # noqa: F811
    report = fit_regressor(judged(), FitRegressor(embedder=str(encoder), device="cpu"), tmp_path / "r")
    assert (report.prompts, report.held_out_prompts) == (24, 6)
    assert report.regressor.pair_accuracy.estimate > 0.95
    assert report.length_alone.pair_accuracy.estimate < 0.8
    assert "plumbing and triage" in report.lines()[-1] and "length alone" in "\n".join(report.lines())
    assert {file.name for file in (tmp_path / "r").iterdir()} == {"regressor.json", "regressor.safetensors"}
    written = json.loads((tmp_path / "r" / "regressor.json").read_text())
    assert written["held_out"]["regressor"]["pair_accuracy"]["estimate"] == report.regressor.pair_accuracy.estimate


def test_pairs_are_compared_within_a_prompt_and_ties_count_half() -> None:
    found = _figures(
        np.array([1.0, 2.0, 2.0, 9.0, 0.0]), np.array([1.0, 2.0, 3.0, 1.0, 1.0]), ["a", "a", "a", "b", "b"]
    )
    assert found.pair_accuracy.estimate == pytest.approx((1 + 1 + 0.5) / 3) and found.pair_accuracy.rows == 3


def test_too_little_judged_data_is_an_error(encoder: Path, tmp_path: Path) -> None:  # noqa: F811
    with pytest.raises(DataError, match="have 0"):
        fit_regressor(completions_table([("q", "a")] * 4), FitRegressor(embedder=str(encoder)), tmp_path)
