"""The ten lines of the tutorial train a stock DPOTrainer, on a local data set and a tiny model."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGE, README = ROOT / "docs" / "tutorials" / "trl.md", ROOT / "README.md"


@pytest.mark.torch
def test_the_ten_lines_train_on_goals_that_stand_in_the_prompt(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets, trl = pytest.importorskip("datasets"), pytest.importorskip("trl")
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    assert code in README.read_text(encoding="utf-8"), "the README shows the same lines"
    rows = [
        {"prompt": f"Question {number}?", "completion": f"answer {side} to {number}", "score": float(2 + 5 * side)}
        for number in range(3)
        for side in range(2)
    ]
    monkeypatch.setattr(datasets, "load_dataset", lambda name, split: datasets.Dataset.from_list(rows))
    usual = trl.DPOConfig
    quick: dict[str, Any] = {"max_steps": 1, "report_to": [], "use_cpu": True, "per_device_train_batch_size": 2}
    monkeypatch.setattr(trl, "DPOConfig", lambda out, **options: usual(str(tmp_path / out), **options, **quick))
    world: dict[str, Any] = {}
    exec(code.replace("Qwen/Qwen2.5-0.5B-Instruct", str(tiny_model)), world)
    assert world["trainer"].state.global_step == 1
    assert len(world["rows"]) == 6
    texts = [[message["content"] for message in row["prompt"]] for row in world["rows"]]
    assert all(str(int(row["goal"])) in text[0] for row, text in zip(world["rows"], texts, strict=True))
    assert {(row["goal"], row["chosen"][0]["content"][:8]) for row in world["rows"]} == {
        (7.0, "answer 1"),
        (2.0, "answer 0"),
    }
