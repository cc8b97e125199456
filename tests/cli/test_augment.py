"""``prefboost augment``."""

from __future__ import annotations

import json
import random
import uuid
from pathlib import Path

import fsspec
import pytest
from counting_store import count_traffic

from prefboost.cli.main import main


@pytest.fixture
def source(tmp_path: Path) -> Path:
    rows = [
        {
            "prompt": f"Question {n}?",
            "chosen": "good",
            "rejected": "bad",
            "score_chosen": 8,
            "score_rejected": 3 + 5 * (n == 2),
        }
        for n in range(5)
    ]
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_summary_tells_counts_reasons_scale_and_where_the_rejects_are(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["augment", str(source), "-o", str(tmp_path / "out"), "--quiet"]) == 0
    shown = capsys.readouterr().out
    assert "records in                5" in shown
    assert "goal pairs                8" in shown
    assert "relabel: both completions have the same score" in shown
    assert f"rejects        {tmp_path}/out/rejects.parquet" in shown
    assert "1 (lowest) to 10 (highest)" in shown
    assert main(["augment", str(source), "-o", str(tmp_path / "out")]) == 0
    assert "exists already, written by the same command" in capsys.readouterr().out


def test_json_holds_the_same(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["augment", str(source), "-o", str(tmp_path / "out.jsonl"), "--format", "trl", "--json"]
    assert main(arguments) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["records"], report["pairs"], report["goal_pairs"], report["format"]) == (5, 5, 8, "trl")
    row = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0])
    assert row["prompt"][0]["role"] == "system"


def test_a_dry_run_shows_the_guess_and_three_rows_and_writes_nothing(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["augment", str(source), "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "score_chosen" in shown
    assert shown.count("view, goal") == 3
    assert main(["augment", str(source), "--dry-run", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["rows"]) == 3
    assert list(tmp_path.iterdir()) == [source]


def test_settings_are_overridden_by_key_and_value(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["augment", str(source), "-o", str(tmp_path / "out"), "relabel=plain", "condition.place=user"]
    assert main(arguments) == 0
    manifest = json.loads((tmp_path / "out" / "prefboost.json").read_text())
    assert manifest["settings"]["relabel"]["kind"] == "plain"
    assert "relabel=" in manifest["command"]
    assert main([*arguments, "relabel.tie=mark"]) == 2
    assert "is not a setting here" in capsys.readouterr().err


def test_mistakes_are_one_message_and_exit_code_2(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["augment", str(source)]) == 2
    assert "-o FOLDER" in capsys.readouterr().err
    assert main(["augment", str(tmp_path / "none.parquet"), "-o", str(tmp_path / "out")]) == 2
    assert "no such file" in capsys.readouterr().err
    assert main(["augment", str(source), "-o", str(tmp_path / "out"), "--format", "trlx"]) == 2
    assert "format" in capsys.readouterr().err
    assert main(["augment", str(source), "-o", str(tmp_path / "out.jsonl"), "--push", "me/data"]) == 2
    assert "cannot be pushed" in capsys.readouterr().err


def test_the_command_in_the_card_makes_the_same_data(source: Path, tmp_path: Path) -> None:
    import shlex

    first, second = tmp_path / "first" / "out", tmp_path / "second" / "out"
    assert (
        main(["augment", str(source), "-o", str(first), "pair.cap=1", "condition.place=after", "--format", "trl"]) == 0
    )
    command = json.loads((first / "prefboost.json").read_text())["command"]
    arguments = shlex.split(command)[1:]
    arguments[arguments.index("-o") + 1] = str(second)
    assert main(arguments) == 0
    for path in first.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (second / path.relative_to(first)).read_bytes()


def test_what_is_said_of_the_source_is_said_with_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "marks.jsonl"
    rows = [
        {"prompt": "p?", "response": f"r{n}"}
        | dict.fromkeys(("helpfulness", "correctness", "coherence", "complexity", "verbosity"), n)
        for n in range(3)
    ]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["augment", str(source), "--dry-run"]) == 2
    assert "data.score=coherence" in capsys.readouterr().err
    assert main(["augment", str(source), "-o", str(tmp_path / "out"), "data.score=correctness"]) == 0
    shown = capsys.readouterr().out
    assert "score=correctness" in shown and "0 (lowest) to 4 (highest)" in shown
    assert main(["augment", str(source), "-o", str(tmp_path / "two"), "data=helpsteer"]) == 0
    assert main(["augment", str(source), "-o", str(tmp_path / "three"), "data=helpster"]) == 2
    assert "did you mean helpsteer" in capsys.readouterr().err


def test_a_dry_run_shows_goals_as_they_are_said(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["augment", str(source), "--dry-run", "scale={kind: min_max, low: 0, high: 1}"]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert "rejected view, goal 0\n" in shown and "Overall score: 0." in shown
    assert main([*arguments, "relabel=plain"]) == 0
    assert "plain view, no goal" in capsys.readouterr().out
    assert main([*arguments[:3], "condition.wording=Score: {{ goal }}"]) == 0
    assert "Score: 8" in capsys.readouterr().out


def test_a_benchmark_with_a_prompt_a_line_is_taken(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bench.txt").write_text("question 1\n")
    arguments = ["augment", str(source), "-o", str(tmp_path / "out"), f"decontaminate=[{tmp_path}/bench.txt]"]
    assert main(arguments) == 0
    assert "the prompt shares words with a benchmark's" in capsys.readouterr().out
    assert main([*arguments[:4], "decontaminate=[nothing/here.txt]"]) == 2
    assert "hub" not in capsys.readouterr().err.partition("->")[0]


def test_a_dry_run_estimates_time_on_machines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "scored.jsonl"
    rows = [{"prompt": f"q{n // 2}", "completion": f"a{n}", "score": n % 9} for n in range(100)]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ["augment", str(source), "batch_rows=10", "--dry-run", "--json"]
    machines = ["--on", "row_us=36", "--on", "part_ms=0", "--on", "driver_ms=0", "--on", "read_us=0"]
    hours = {}
    for name, options in {"one": [], "ray": ["--executor", "ray"], "shards": ["--shard", "0/4"]}.items():
        assert main([*command, *machines, *options]) == 0
        hours[name] = json.loads(capsys.readouterr().out)["estimate"]["hours"]
    assert hours["one"] == pytest.approx(1e-6) and hours["shards"] == pytest.approx(hours["one"] / 4)
    assert hours["one"] / 16 <= hours["ray"] < hours["one"]
    assert main([*command[:-1], "--on", "records=1000000000", "--on", "dollars=1"]) == 0
    assert "machine-hours, $" in capsys.readouterr().out
    assert main([*command, "--on", "parameters=7e9"]) == 2
    assert "parameters" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["goals", "goals.parquet"])
def test_the_estimate_of_traffic_is_that_of_a_counted_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = f"memory://{uuid.uuid4().hex}"
    rng = random.Random(0)
    words = ("prompt", "chosen", "rejected")
    # Sides of some pairs have one score, so that every part has rejects as well.
    rows = [
        {word: " ".join(f"word{rng.randrange(2000)}" for _ in range(8)) for word in words}
        | dict(zip(("score_rejected", "score_chosen"), sorted(rng.choices(range(1, 11), k=2)), strict=True))
        for _ in range(4000)
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    with fsspec.open(f"{place}/in/scored.jsonl", "w") as stream:
        stream.write(text)
    traffic = count_traffic(monkeypatch)
    command = ["augment", f"{place}/in/scored.jsonl", "batch_rows=500", "-o", f"{place}/out/{name}"]
    assert main([*command, "--quiet"]) == 0
    system = fsspec.filesystem("memory")
    files = system.find(f"{place}/out", detail=True).values()
    output_bytes = sum(each["size"] for each in files if ".parquet" in each["name"]) / len(rows)
    counted = traffic.read, traffic.written, traffic.requests.total()
    machines = ["--on", f"records={len(rows)}", "--on", f"output_bytes={output_bytes}"]
    capsys.readouterr()
    assert main([*command, *machines, "--dry-run", "--json"]) == 0
    estimate = json.loads(capsys.readouterr().out)["estimate"]
    assert estimate["object_read_bytes"] == pytest.approx(counted[0], rel=0.15)
    assert estimate["object_written_bytes"] == pytest.approx(counted[1], rel=0.15)
    assert estimate["object_requests"] == pytest.approx(counted[2], rel=0.15)
    assert main([*command, *machines, "--dry-run", "--shard", "0/3", "--json"]) == 0
    every = json.loads(capsys.readouterr().out)["estimate"]
    more = every["object_read_bytes"] - estimate["object_read_bytes"]
    assert more == pytest.approx(2 * len(text), rel=1e-6)
    assert main([*command, *machines, "--dry-run"]) == 0
    assert "object store: about " in capsys.readouterr().out
