"""Shards on the command line: merged, they are what one run writes."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from faulty_server import FaultyServer

from prefboost.cli.main import main

SHARDS = 7


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.txt"
    path.write_text("".join(f"question {number}\n" for number in range(20)) + "question 3\n")
    return path


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    path = tmp_path / "recorded.jsonl"
    lines = [
        {"prompt": f"question {number}", "completion": f"answer {number} {sample}", "finish_reason": "stop"}
        for number in range(20)
        for sample in range(2)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def run_shards(*command: str, out: Path, count: int = SHARDS) -> list[str]:
    for index in range(count):
        assert main([*command, "-o", str(out), "--quiet", "--shard", f"{index}/{count}"]) == 0
    ending = out.suffix
    return [str(out.with_name(f"{out.stem}.shard-{index}-of-{count}{ending}")) for index in range(count)]


def assert_same_files(one: Path, other: Path) -> None:
    assert one.read_bytes() == other.read_bytes()
    rejects = [path.with_name(f"{path.name}.rejects.parquet") for path in (one, other)]
    assert rejects[0].exists() == rejects[1].exists()
    if rejects[0].exists():
        assert pl.read_parquet(rejects[0]).equals(pl.read_parquet(rejects[1]))


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_merged_completions_equal_one_run(recorded: Path, prompts: Path, ending: str) -> None:
    command = ("generate", f"replay:{recorded}", str(prompts), "n=2")
    whole, merged = (recorded.parent / f"{name}.{ending}" for name in ("whole", "merged"))
    assert main([*command, "-o", str(whole), "--quiet"]) == 0
    shards = run_shards(*command, out=merged)
    assert main(["merge", *shards, "--quiet"]) == 0
    assert_same_files(whole, merged)


def test_merged_scores_equal_one_run_and_the_server_is_asked_once_per_row(
    prompts: Path, recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    completions = prompts.parent / "completions.parquet"
    assert main(["generate", f"replay:{recorded}", str(prompts), "n=2", "-o", str(completions), "--quiet"]) == 0
    with FaultyServer(answer=lambda prompt, seed, place: f"Score: {1 + len(prompt) % 9}") as server:
        rater = [
            "kind=rater",
            "engine.kind=openai_compatible",
            "engine.model=m",
            f"engine.base_url={server.base_url}",
            "read=answer",
        ]
        whole, merged = (prompts.parent / f"{name}.parquet" for name in ("whole", "merged"))
        assert main(["score", str(completions), *rater, "-o", str(whole), "--quiet"]) == 0
        shards = run_shards("score", str(completions), *rater, out=merged)
        # Two runs over the same rows, and not one more for merging.
        assert set(server.answered.values()) == {2}
        assert main(["merge", *shards, "--quiet"]) == 0
        assert set(server.answered.values()) == {2}
    assert_same_files(whole, merged)


WRITER = "{kind: 'made_writer:Writer'}"
SCORER = "scorer={kind: 'made_writer:LengthScorer'}"
COMMANDS = {
    "judge": ["judge", "SOURCE", "kind=scorer", "scorer.kind=length_scorer:LengthScorer"],
    "score": ["score", "SOURCE", "kind=length_scorer:LengthScorer"],
    "rmboost": ["synthesize", "rmboost", "SOURCE", f"generator={WRITER}", "filters.max_edit_distance=1.0"],
    "rlcd": ["synthesize", "rlcd", "SOURCE", f"generator={WRITER}"],
    "west_of_n": ["synthesize", "west_of_n", "SOURCE", f"generator={WRITER}", SCORER, "n=3"],
    "clair": ["synthesize", "clair", "SOURCE", f"generator={WRITER}", "filters.max_edit_distance=1.0"],
}


@pytest.mark.parametrize("case", COMMANDS)
def test_what_merged_shards_of_other_verbs_say_equals_one_run(case: str, tmp_path: Path) -> None:
    source = tmp_path / "pairs.jsonl"
    rows = [
        {"prompt": f"question {number}", "chosen": f"good answer {number}", "rejected": "bad"} for number in range(20)
    ]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = [str(source) if word == "SOURCE" else word for word in COMMANDS[case]]
    whole, merged = tmp_path / "whole.parquet", tmp_path / "merged.parquet"
    assert main([*command, "-o", str(whole), "--quiet"]) == 0
    shards = run_shards(*command, out=merged)
    assert main(["merge", *shards, "--quiet"]) == 0
    assert_same_files(whole, merged)


@pytest.mark.parametrize("case", COMMANDS)
def test_shards_of_every_verb_that_make_no_whole_are_refused_by_name(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "pairs.jsonl"
    rows = [{"prompt": f"question {number}", "chosen": f"answer {number}", "rejected": "bad"} for number in range(6)]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = [str(source) if word == "SOURCE" else word for word in COMMANDS[case]]
    out, other = tmp_path / "out.parquet", tmp_path / "other" / "out.parquet"
    other.parent.mkdir()
    changed = {"judge": "scorer.sign=2", "score": "sign=2"}.get(case, "sampling.max_tokens=99")
    shards = run_shards(*command, out=out, count=2)
    assert main([*command, changed, "-o", str(other), "--quiet", "--shard", "1/2"]) == 0
    differing = str(other.with_name("out.shard-1-of-2.parquet"))
    cases = {
        "missing: shard 1/2": shards[:1],
        f"stands twice: {shards[0]}": [shards[0], *shards],
        f"out.shard-1-of-2.parquet differs from {shards[0]}": [shards[0], differing],
    }
    for words, given in cases.items():
        capsys.readouterr()
        assert main(["merge", *given, "--quiet"]) == 2
        assert words.rpartition("/")[2] in capsys.readouterr().err and not out.exists()


def test_more_shards_than_prompts_and_a_missing_one(
    recorded: Path, prompts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts.write_text("question 1\n")
    out = recorded.parent / "out.jsonl"
    shards = run_shards("generate", f"replay:{recorded}", str(prompts), out=out, count=5)
    assert "no row of the input belongs to this shard" in capsys.readouterr().out
    assert main(["merge", *shards[:-1], "-o", str(out), "--quiet"]) == 2
    assert "missing: shard 4/5" in capsys.readouterr().err and not out.exists()
    assert main(["merge", *shards, "--quiet"]) == 0
    assert pl.read_ndjson(out).height == 1


def test_a_shard_of_other_settings_is_named(recorded: Path, prompts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = recorded.parent / "out.jsonl"
    command = ("generate", f"replay:{recorded}", str(prompts))
    shards = run_shards(*command, "n=2", out=out, count=2)
    assert main([*command, "n=1", "-o", str(out), "--quiet", "--shard", "1/2"]) == 0
    assert main(["merge", *shards, "--quiet"]) == 2
    assert (
        "out.shard-1-of-2.jsonl differs from out.shard-0-of-2.jsonl: settings.n is 1, not 2" in capsys.readouterr().err
    )


def write_scored(path: Path, prompts: int) -> Path:
    rows = [
        {"prompt": f"question {number}", "completion": f"answer {number} {side}", "score": float((number + side) % 10)}
        for number in range(prompts)
        for side in range(4)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read_folder(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("name", ["goals", "goals.parquet", "goals.jsonl"])
def test_merged_goal_pairs_equal_one_run(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_scored(tmp_path / "scored.jsonl", prompts=90)
    # A fitted scale needs all scores, and duplicates are found among all rows: both cross the shards.
    command = ("augment", str(source), "scale=quantile", "batch_rows=24", "select.dedupe=prompt")
    whole, merged = tmp_path / "a" / name, tmp_path / "b" / name
    assert main([*command, "-o", str(whole), "--quiet"]) == 0
    shards = run_shards(*command, out=merged)
    assert main(["merge", *shards, "--quiet", "--json"]) == 0
    ours, theirs = read_folder(whole.parent), read_folder(merged.parent)
    assert ours == {path: content for path, content in theirs.items() if "shard-" not in path}
    assert any(path.endswith("prefboost.json") for path in ours), "the manifest is one of them"
    # The same shard once more: nothing to do.
    capsys.readouterr()
    assert main([*command, "-o", str(merged), "--shard", "3/7", "--quiet", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["shard"] == "3/7"


def write_completions(path: Path, prompts: int) -> Path:
    """Scored completions: some twice, some cut, some without a score, some under two ids, and a broken line."""
    rows = [
        {
            "prompt": f"question {number % (prompts - 3)}",
            "prompt_id": f"q{number}",
            "completion": f"answer {side % 3}",
            "score": None if (number + side) % 11 == 0 else float((number * 3 + side) % 10),
            "finish_reason": "length" if (number + side) % 7 == 0 else "stop",
        }
        for side in range(5)
        for number in range(prompts)
    ]
    path.write_text("{broken\n" + "".join(json.dumps(row) + "\n" for row in rows))
    return path


SELECTIONS = {
    "best": ["kind=best_of_n", "count=2", "select.dedupe=prompt"],
    "sampled": ["kind=rejection_sampling", "beta=2", "format=prefboost", "select.max_completion_words=2"],
}


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
@pytest.mark.parametrize("case", SELECTIONS)
def test_merged_selections_have_the_files_of_one_run(
    case: str, ending: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_completions(tmp_path / "scored.jsonl", prompts=40)
    command = ("select", str(source), *SELECTIONS[case])
    whole, merged = (tmp_path / place / f"best.{ending}" for place in ("a", "b"))
    assert main([*command, "-o", str(whole), "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)
    shards = [str(merged.with_name(f"best.shard-{index}-of-7.{ending}")) for index in range(7)]
    for index in range(7):
        assert main([*command, "-o", str(merged), "--shard", f"{index}/7"]) == 0
    first = read_folder(Path(shards[3]))
    assert main([*command, "-o", str(merged), "--shard", "3/7"]) == 0  # nothing to do
    assert read_folder(Path(shards[3])) == first
    capsys.readouterr()
    assert main(["merge", *shards, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {**counts, "out": str(merged)}
    assert 0 < counts["kept"] < counts["rows"]
    ours, theirs = read_folder(whole.parent), read_folder(merged.parent)
    assert ours == {name: content for name, content in theirs.items() if "shard" not in name}
    assert set(ours) == {f"best.{ending}{beside}" for beside in ("", ".rejects.parquet", ".select.json")}


def test_selections_that_make_no_whole_are_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_completions(tmp_path / "scored.jsonl", prompts=20)
    out = tmp_path / "best.jsonl"
    command = ["select", str(source), "kind=best_of_n", "-o", str(out), "--shard"]
    shards = [str(tmp_path / f"best.shard-{index}-of-3.jsonl") for index in range(3)]
    for index in range(3):
        assert main([*command, f"{index}/3"]) == 0
    other = tmp_path / "other"
    other.mkdir()
    assert (
        main(["select", str(source), "kind=best_of_n", "count=2", "-o", str(other / out.name), "--shard", "2/3"]) == 0
    )
    assert main(["select", str(source), "kind=best_of_n", "count=2", "-o", str(out), "--shard", "2/3"]) == 2
    assert "a shard of other settings or another input stands here" in capsys.readouterr().err
    wrong = {
        "missing: shard 1/3": [shards[0], shards[2]],
        "stands twice": [*shards, shards[1]],
        "best.shard-2-of-3.jsonl differs from best.shard-0-of-3.jsonl: settings.strategy.count is 2, not 1": [
            *shards[:2], str(other / "best.shard-2-of-3.jsonl")
        ],
    }  # fmt: skip
    for words, given in wrong.items():
        assert main(["merge", *given]) == 2
        assert words in capsys.readouterr().err and not out.exists()
    part = next(Path(shards[1]).glob("*.rows.*"))
    part.write_bytes(part.read_bytes()[:-1])
    assert main(["merge", *shards]) == 2
    assert "best.shard-1-of-3.jsonl is damaged (1 of 1 parts)" in capsys.readouterr().err
    Path(shards[1]).rename(tmp_path / "damaged")
    assert main([*command, "1/3"]) == 0
    before = source.read_bytes()
    for name in (shards[1], str(source)):
        assert main(["merge", *shards, "-o", name]) == 2
        assert "the output is the input" in capsys.readouterr().err and source.read_bytes() == before
    source.write_text(source.read_text() + "{}\n")
    assert main(["merge", *shards]) == 2
    assert "has changed since the shards were made" in capsys.readouterr().err


def test_a_shard_with_a_damaged_part_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_scored(tmp_path / "scored.jsonl", prompts=100)
    command = ("augment", str(source), "scale=quantile", "batch_rows=24")
    shards = run_shards(*command, out=tmp_path / "goals", count=2)
    part = next(path for path in Path(shards[1]).iterdir() if path.name.endswith(".train"))
    part.write_bytes(part.read_bytes()[:-1])
    assert main(["merge", *shards, "--quiet"]) == 2
    assert "goals.shard-1-of-2 is damaged (1 of" in capsys.readouterr().err


def test_merging_replaces_no_shard_and_no_file_of_others(
    recorded: Path, prompts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, foreign = recorded.parent / "out.jsonl", recorded.parent / "thesis.jsonl"
    shards = run_shards("generate", f"replay:{recorded}", str(prompts), out=out, count=2)
    foreign.write_text("mine")
    before = Path(shards[1]).read_bytes()
    assert main(["merge", *shards, "-o", shards[1], "--quiet"]) == 2
    assert "the output is the input" in capsys.readouterr().err
    assert main(["merge", *shards, "-o", str(foreign), "--quiet"]) == 2
    assert "did not write it" in capsys.readouterr().err
    assert (Path(shards[1]).read_bytes(), foreign.read_text()) == (before, "mine")
