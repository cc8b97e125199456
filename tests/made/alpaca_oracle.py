"""The published AlpacaEval figures beside the repository, where they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from prefboost.statistics import GamedRows, LengthRows

FOLDER = Path(__file__).parents[3] / "shared" / "oracles"
if not FOLDER.exists():
    FOLDER = Path(__file__).parents[4] / "shared" / "oracles"


def needs_oracle() -> pytest.MarkDecorator:
    return pytest.mark.skipif(not FOLDER.exists(), reason="the published figures (../shared/oracles) are absent")


def published() -> dict[str, dict[str, float]]:
    return {row["model"]: row for row in pl.read_csv(FOLDER / "alpaca_published.csv").iter_rows(named=True)}


def difficulty() -> np.ndarray:
    return pl.read_csv(FOLDER / "alpaca_instruction_difficulty.csv")["instruction_difficulty"].to_numpy()


def coefficients() -> dict[str, list[float]]:
    return {row[0]: list(row[1:]) for row in pl.read_csv(FOLDER / "alpaca_published_weights.csv").iter_rows()}


def gamed() -> GamedRows:
    rows = pl.read_csv(FOLDER / "alpaca_gamed_rows.csv")
    return GamedRows(
        rows["preference"].to_numpy(), rows["std_delta_len"].to_numpy(), rows["instruction_difficulty"].to_numpy()
    )


def judged() -> Iterator[tuple[str, LengthRows]]:
    """Each model with its rows, difficulty by position as upstream has it."""
    told, harder, game = pl.read_parquet(FOLDER / "alpaca_judgements.parquet"), difficulty(), gamed()
    for (model,), rows in told.sort("model", "row").group_by("model", maintain_order=True):
        shares = rows["preference"].replace({0.0: 1.5}).to_numpy() - 1
        longer = (rows["len_1"] - rows["len_2"]).to_numpy()
        yield str(model), LengthRows(shares, longer, harder[: len(shares)], game)
