"""Skywork: whole conversations on both sides."""

from __future__ import annotations

import json
from pathlib import Path

from prefboost.sources import Skywork, read


def test_the_shared_beginning_is_the_prompt(tmp_path: Path) -> None:
    head = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "a"},
        {"role": "user", "content": "r"},
    ]
    sides = {side: [*head, {"role": "assistant", "content": side}] for side in ("chosen", "rejected")}
    path = tmp_path / "s.jsonl"
    path.write_text(json.dumps({**sides, "source": "magpie"}))
    row = read(Skywork(path=str(path))).frame.row(0, named=True)
    assert [message["content"] for message in row["prompt"]] == ["q", "a", "r"]
    assert row["chosen"][0]["content"] == "chosen"
    assert row["score_chosen"] is None
