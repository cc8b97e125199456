"""Folders that a report is made of, written by hand: no model is trained."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_verdicts import made, results

from prefboost.runs.evaluate.evaluate import write_evaluation


@pytest.fixture
def run_folder(goal_table: Callable[..., Any], tmp_path: Path) -> Callable[..., Path]:
    """A finished run of one training on so many pairs."""

    def make(name: str = "mine", pairs: int = 6, **manifest: Any) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        stages = {
            "pairs": {"took_s": 1.5, "notes": {"goal_pairs": 2 * pairs, "steps": [], "rejected": {}}},
            "train": {"took_s": 60.0, "notes": {"steps": 2}},
        }
        record = {
            "settings": {"data": {"path": "rows.jsonl"}},
            "command": ["prefboost", "train", "x.yaml"],
            "stages": stages,
        }
        (folder / "manifest.json").write_text(json.dumps({**record, **manifest}))
        lines = [{"step": step, "loss": 1.0 / step, "rewards/margins": 0.1 * step} for step in (1, 2)]
        (folder / "train_log.jsonl").write_text("\n".join(map(json.dumps, lines)))
        (folder / "train_report.json").write_text(json.dumps({"steps": 2, "seconds": 60.0}))
        goal_table(pairs).frame.write_parquet(folder / "pairs.parquet")
        return folder

    return make


@pytest.fixture
def evaluation_folder(tmp_path: Path) -> Path:
    """An evaluation of two models, with their completions."""
    folder = tmp_path / "evaluation"
    verdicts = [*made("m@1", 0.3, count=4), *made("m@10", 0.7, count=4)]
    write_evaluation(folder, verdicts, results("m@1", "m@10", baseline="gpt"))
    (folder / "completions").mkdir()
    for model in ("m@1", "m@10"):
        rows = [
            {"uid": f"p{at}", "instruction": f"Question {at}?", "output": f"{model} {at}", "generator": model,
             "goal": float(model.partition("@")[2])}
            for at in range(4)
        ]  # fmt: skip
        (folder / "completions" / f"{model}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder
