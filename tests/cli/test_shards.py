"""The option ``--shard``: what it refuses, what a shard prints, and where it writes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from prefboost.cli.main import main
from prefboost.cli.shards import OwnPart
from prefboost.errors import SettingsError
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


@pytest.mark.parametrize("verb", ["augment", "select"])
def test_a_stream_is_no_input_of_shards(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = ["kind=best_of_n"] if verb == "select" else ["--quiet"]
    assert main([verb, "/dev/stdin", *more, "-o", str(tmp_path / "out"), "--shard", "0/2"]) == 2
    assert "could not read again" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_a_stream_is_refused_before_rows_are_asked_and_never_read_by_merge(
    recorded: Path, prompts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = read_prompts(prompts)
    with pytest.raises(SettingsError, match="write it to a file"):
        OwnPart("0/2", replace(table, path="/dev/stdin"), prompts.parent / "out.jsonl")
    out = prompts.parent / "o.jsonl"
    assert main(["generate", f"replay:{recorded}", str(prompts), "-o", str(out), "--shard", "0/1"]) == 0
    record = prompts.parent / "o.shard-0-of-1.jsonl.shard.json"
    record.write_text(record.read_text().replace(json.dumps(str(prompts)), '"/dev/stdin"'))
    assert main(["merge", str(prompts.parent / "o.shard-0-of-1.jsonl")]) == 2
    assert "could not read again" in capsys.readouterr().err and not out.exists()
