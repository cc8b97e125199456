"""A recipe of reward models: mixed at equal size, trained, measured, skipped, repeated where it changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.training.conftest import build_folder

from prefboost.errors import DataError
from prefboost.recipes.documents import apply_overrides, parse
from prefboost.recipes.kinds import AnyRecipe
from prefboost.recipes.load import of_kind
from prefboost.runs.pipelines.run import run

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_folder(tmp_path_factory.mktemp("start"))


def pairs_file(path: Path, name: str, count: int, **more: Any) -> Path:
    """The better completion has the letter z."""
    rows = [
        {"prompt": f"{name} {n}", "chosen": f"z{n % 5}", "rejected": f"y{n % 7}", **more} for n in range(count)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def recipe(folder: Path, start: Path, *overrides: str) -> AnyRecipe:
    real = pairs_file(folder / "real.jsonl", "real", 12)
    made = pairs_file(folder / "made.jsonl", "made", 9)
    with made.open("a") as stream:  # asked in the test
        stream.write(json.dumps({"prompt": "TEST, 1!", "chosen": "z", "rejected": "y"}) + "\n")
    test = pairs_file(folder / "test.jsonl", "test", 6)
    text = (
        f"name: compared\nkind: reward\nparts: {{real: {real}, synthetic: {made}}}\ntest: {test}\n"
        f"train: {{model: {start}, precision: fp32, batch_size: 4, max_steps: 2, learning_rate: 3e-3}}\n"
        "accuracy: {batch_check: 0, interval: {resamples: 200}}\n"
    )
    return of_kind(apply_overrides(parse(text), overrides))


def test_mixtures_have_equal_size_and_every_model_is_measured_once(start: Path, tmp_path: Path) -> None:
    report = run(recipe(tmp_path, start), tmp_path / "runs")
    folder = tmp_path / "runs" / "compared"
    assert [each.stage for each in report.stages] == [
        "data",
        *(f"{model}/{stage}" for model in ("real", "synthetic", "real+synthetic")
          for stage in ("pairs", "train", "accuracy")),
    ]  # fmt: skip
    sources = {
        model: dict(pl.read_parquet(folder / model / "pairs.parquet")["source"].value_counts().iter_rows())
        for model in ("real", "synthetic", "real+synthetic")
    }
    assert sources["real"] == {"real": 9} and sources["synthetic"] == {"synthetic": 9}
    assert sum(sources["real+synthetic"].values()) == 9 and len(sources["real+synthetic"]) == 2
    assert set(report.measured) == {f"{model}/accuracy" for model in sources}
    assert report.measured["real/accuracy"]["pairs"] == 6
    again = run(recipe(tmp_path, start), tmp_path / "runs")
    assert all(each.why is None for each in again.stages)
    changed = run(recipe(tmp_path, start, "accuracy.ties=lose"), tmp_path / "runs")
    assert [each.stage for each in changed.stages if each.why] == [f"{model}/accuracy" for model in sources]


def test_without_a_test_file_rows_marked_for_evaluation_are_measured_on(start: Path, tmp_path: Path) -> None:
    wanted = recipe(tmp_path, start, "test=null", "mixtures={real: {real: 1}}")
    with pytest.raises(DataError, match="no row of a part has validation or test"):
        run(wanted, tmp_path / "runs", until="data")
    rows = [json.loads(line) for line in (tmp_path / "real.jsonl").read_text().splitlines()]
    marked = [{**row, "split": "test" if n < 3 else "train"} for n, row in enumerate(rows)]
    (tmp_path / "real.jsonl").write_text("".join(json.dumps(row) + "\n" for row in marked))
    report = run(wanted, tmp_path / "runs", until="real/pairs")
    assert report.stages[0].notes["test pairs"] == 3 and report.stages[0].notes["size"] == 9
