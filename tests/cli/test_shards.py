"""The option ``--shard``: what it refuses, what a shard prints, and where it writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prefboost.cli.main import main
from prefboost.cli.shards import OwnPart
from prefboost.runs.generate.prompt_files import read_prompts


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.txt"
    path.write_text("".join(f"question {number}\n" for number in range(20)))
    return path


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    path = tmp_path / "recorded.jsonl"
    lines = [{"prompt": f"question {number}", "completion": f"answer {number}"} for number in range(20)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_a_shard_has_no_other_store(recorded: Path, prompts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["generate", f"replay:{recorded}", str(prompts), "-o", str(recorded.parent / "o.jsonl")]
    assert main([*command, "--shard", "0/2", "--store", str(recorded.parent / "s")]) == 2
    assert "exclude each other" in capsys.readouterr().err


def test_without_the_option_the_part_is_the_whole(prompts: Path) -> None:
    table, out = read_prompts(prompts), prompts.parent / "out.jsonl"
    part = OwnPart(None, table, out)
    assert part.table is table and part.out == out and not part.is_empty
    shards = [OwnPart(f"{index}/3", table, out) for index in range(3)]
    assert sum(len(shard.table) for shard in shards) == len(table) == 20
    assert len({shard.out for shard in shards}) == 3


def test_a_shard_prints_its_counts_alone_on_standard_output(
    recorded: Path, prompts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = recorded.parent / "o.jsonl"
    command = ["generate", f"replay:{recorded}", str(prompts), "-o", str(out), "--quiet", "--json", "--shard", "1/2"]
    assert main(command) == 0
    shown = capsys.readouterr()
    assert 0 < json.loads(shown.out)["rows"] < 20
    assert "prefboost merge" in shown.err and "o.shard-*-of-2.jsonl" in shown.err


@pytest.mark.parametrize(
    ("more", "message"), [(["--push", "a/b"], "cannot be pushed"), (["-o", "-"], "standard output")]
)
def test_a_shard_of_augment_is_a_folder_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    source = tmp_path / "scored.jsonl"
    rows = [{"prompt": "q", "completion": f"a{side}", "score": side} for side in range(2)]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["augment", str(source), "-o", str(tmp_path / "goals"), "--shard", "0/2", *more]) == 2
    assert message in capsys.readouterr().err
