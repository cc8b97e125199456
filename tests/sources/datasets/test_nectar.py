"""Nectar: transcripts as prompts, ranks as scores."""

from __future__ import annotations

import json
from pathlib import Path

from prefboost.sources import Nectar, read


def test_ranks_become_scores_of_which_more_is_better(tmp_path: Path) -> None:
    path = tmp_path / "n.jsonl"
    answers = [{"answer": f"a{rank}", "model": "m", "rank": float(rank)} for rank in (1, 2, 7)]
    record = {
        "prompt": "\n\nHuman: hi\n\nAssistant: hello\n\nHuman: tell me\n\nAssistant: ",
        "answers": answers,
        "turns": 2,
        "num_responses": 3,
        "source": ["lmsys-chat-1m", "sharegpt"],
        "good_natured": True,
    }
    path.write_text(json.dumps(record))
    frame = read(Nectar(path=str(path))).frame
    assert frame["score"].to_list() == [7, 6, 1]
    assert [message["role"] for message in frame["prompt"][0]] == ["user", "assistant", "user"]
    assert frame["prompt"][0][2]["content"] == "tell me"
    assert frame["source"].to_list() == ["lmsys-chat-1m, sharegpt"] * 3
