"""HH-RLHF: transcripts."""

from __future__ import annotations

import json
from pathlib import Path

from prefboost.sources import HhRlhf, read

START = "\n\nHuman: hi\n\nAssistant: hello: Human: no turn\n\nHuman: and?"


def test_transcripts_become_messages_and_pairs_that_part_early_are_set_aside(tmp_path: Path) -> None:
    records = [
        {"chosen": f"{START}\n\nAssistant: good", "rejected": f"{START}\n\nAssistant: bad"},
        {"chosen": f"{START}\n\nAssistant: x\n\nHuman: y\n\nAssistant: z", "rejected": f"{START}\n\nAssistant: bad"},
        {"chosen": "no transcript", "rejected": f"{START}\n\nAssistant: bad"},
    ]
    path = tmp_path / "h.jsonl"
    path.write_text("\n".join(map(json.dumps, records)))
    table = read(HhRlhf(path=str(path)))
    row = table.frame.row(0, named=True)
    assert [message["role"] for message in row["prompt"]] == ["user", "assistant", "user"]
    assert row["prompt"][1]["content"] == "hello: Human: no turn"
    assert row["chosen"][0]["content"] == "good"
    assert table.rejects["row"].to_list() == [1, 2]
    assert "different prompts" in table.rejects["reason"][0]
