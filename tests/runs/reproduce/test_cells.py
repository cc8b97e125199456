"""A cell is measured once, at the pace of its arm, and read again as it was written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from prefboost.runs.reproduce.cells import START, Cell, CellSetup, measure_cell, read_cell
from prefboost.runs.reproduce.held_out import hold_prompts_out
from prefboost.sources import File, read
from prefboost.sources.write import write

from .conftest import build_settings

pytestmark = pytest.mark.torch


@pytest.fixture
def setup(tiny: Path, scored: Path, tmp_path: Path) -> CellSetup:
    settings = build_settings(tiny, scored)
    held_out = hold_prompts_out(read(settings.recipe.data), settings)
    write(held_out.select("train"), tmp_path / "train.parquet")
    recipe = settings.recipe.model_copy(update={"data": File(path=str(tmp_path / "train.parquet"))})
    return CellSetup(settings, recipe, held_out, 4, tmp_path / "cells")


def test_it_is_read_as_it_was_written(setup: CellSetup) -> None:
    cell = Cell("dpo_one_pass", 0.1, 1e-3, 1)
    assert read_cell(setup.folder, cell) is None
    result = measure_cell(cell, setup)
    assert result.steps == 2  # half of the four
    assert read_cell(setup.folder, cell) == result
    assert set(result.measures) == {"validation", "test"}


def test_the_start_model_is_not_trained_and_weights_stay_where_they_are_wanted(setup: CellSetup) -> None:
    settings = setup.settings.model_copy(update={"keep_models": True})
    assert measure_cell(Cell(START), setup).steps == 0
    measure_cell(Cell("ra", 0.1, 1e-3, 1), replace(setup, settings=settings))
    assert len(list(setup.folder.rglob("model.safetensors"))) == 1
