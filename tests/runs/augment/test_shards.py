"""Parts of `augment` by shard: made once, resumed, and refused where the settings differ."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prefboost.errors import RunError
from prefboost.runs.augment.augment import augment
from prefboost.runs.augment.output import Output
from prefboost.runs.augment.settings import Augment
from prefboost.runs.augment.shards import augment_shard, gather_parts
from prefboost.runs.shards import Shard


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "scored.jsonl"
    rows = [
        {
            "prompt": f"question {number}",
            "completion": f"answer {number} {side}",
            "score": float((3 * number + side) % 10),
        }
        for number in range(60)
        for side in range(3)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


SETTINGS = Augment(batch_rows=16)


def test_every_part_belongs_to_one_shard_and_all_make_the_whole(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "goals"
    counts = [augment_shard(source, out, SETTINGS, Shard(index, 3)) for index in range(3)]
    assert [augment_shard(source, out, SETTINGS, Shard(index, 3)) for index in range(3)] == counts  # nothing to do
    gather_parts(Output.at(out, SETTINGS, source), [Shard(index, 3).locate(out) for index in range(3)])
    report = augment(source, out, SETTINGS)
    whole = augment(source, tmp_path / "whole", SETTINGS)
    assert report.parts == report.parts_found == sum(parts for parts, _ in counts) == whole.parts
    assert report.goal_pairs == sum(pairs for _, pairs in counts) == whole.goal_pairs
    ours, theirs = (
        {path.name: path.read_bytes() for path in sorted((folder / "data").iterdir())}
        for folder in (out, tmp_path / "whole")
    )
    assert ours == theirs


def test_shards_of_other_settings_are_refused(source: Path, tmp_path: Path) -> None:
    out, shard = tmp_path / "goals", Shard(0, 1)
    augment_shard(source, out, SETTINGS, shard)
    other = Augment(batch_rows=32)
    with pytest.raises(RunError, match="a shard of other settings"):
        augment_shard(source, out, other, shard)
    with pytest.raises(RunError, match="other settings, versions or input"):
        gather_parts(Output.at(out, other, source), [shard.locate(out)])
