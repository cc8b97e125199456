from __future__ import annotations

import json
from pathlib import Path

import pytest

from prefboost.cli.main import main

SCORED = Path(__file__).parents[2] / "examples" / "scored.jsonl"

ROWS = [{"prompt": f"q {n}", "chosen": f"good {n}", "rejected": f"bad {n}", "rating": 9, "other": 2} for n in range(6)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(map(json.dumps, ROWS)), encoding="utf-8")
    return path


def test_the_guess_can_be_overridden(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(file), "columns.score_chosen=rating", "columns.score_rejected=other", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["scores"]["score_chosen"]["mean"] == 9.0
    assert found["mapping"]["score_chosen"] == "rating"


def test_people_see_columns_lengths_and_lints(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "6 rows of PreferencePairs" in shown
    assert "no_scores" in shown


def test_a_benchmark_file_is_held_against_the_prompts(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark = tmp_path / "benchmark.txt"
    benchmark.write_text("Q 3!\nanother\n", encoding="utf-8")
    assert main(["inspect", str(file), "--against", str(benchmark), "--json"]) == 0
    findings = {finding["name"]: finding for finding in json.loads(capsys.readouterr().out)["findings"]}
    (example,) = findings["contamination"]["examples"]
    assert (example["row"], example["path"]) == (3, str(file))


def test_a_benchmark_of_any_shape_may_be_given(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    benchmark = tmp_path / "benchmark.jsonl"
    benchmark.write_text(json.dumps({"id": 1, "turns": ["q 2", "and then?"]}), encoding="utf-8")
    assert main(["inspect", str(file), "--against", str(benchmark)]) == 0
    assert "contamination" in capsys.readouterr().out


@pytest.mark.parametrize("content", [None, b"\xff\xfe bad"])
def test_a_benchmark_that_cannot_be_read_is_named(
    file: Path, tmp_path: Path, content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark = tmp_path / "benchmark.txt"
    if content is not None:
        benchmark.write_bytes(content)
    assert main(["inspect", str(file), "--against", str(benchmark)]) == 2
    assert "benchmark.txt" in capsys.readouterr().err


def test_people_see_where_a_lint_found_something(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "scored.jsonl"
    rows = [{"prompt": f"question {n // 2}", "completion": f"answer {n}", "score": n} for n in range(8)]
    path.write_text("\n".join(map(json.dumps, [*rows, {**rows[0], "score": "much"}, rows[3]])), encoding="utf-8")
    assert main(["inspect", str(path)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for words in ("10 records", "own goals", "the score is not a number", "row 8 much", "duplicates", "row 9 "):
        assert words in shown


def test_goal_pairs_are_inspected_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"prompt": f"q {n}", "chosen": "good", "rejected": "bad", "score_chosen": 9, "score_rejected": 2}
            for n in range(3)]  # fmt: skip
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert main(["augment", str(tmp_path / "in.jsonl"), "-o", str(tmp_path / "goal.parquet"), "--quiet"]) == 0
    assert main(["inspect", str(tmp_path / "goal.parquet")]) == 0
    assert "views: chosen 3, rejected 3, flipped 3" in capsys.readouterr().out


def test_several_aspects_are_named_with_commas(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "scored.jsonl"
    rows = [{"prompt": f"question {n // 2}", "completion": f"answer {n}", "wit": n, "tact": 9 - n} for n in range(8)]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert main(["inspect", str(path), "columns.aspects=wit,tact", "--json"]) == 0
    assert {"score.wit", "score.tact"} <= set(json.loads(capsys.readouterr().out)["scores"])


@pytest.mark.parametrize(("override", "shown"), [("score=x", "columns.NAME=COLUMN"), ("columns.scoer=x", "scoer")])
def test_a_wrong_override_is_one_message(
    file: Path, override: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(file), override]) == 2
    assert shown in capsys.readouterr().err


def test_a_missing_file_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "nowhere/pairs.jsonl"]) == 2
    assert "nowhere/pairs.jsonl" in capsys.readouterr().err


def test_what_is_said_of_the_source_and_wrong_settings(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(file), "data.split=test"]) == 2
    assert "no column names the split of a row" in capsys.readouterr().err
    assert main(["inspect", str(file), "columns.score_chose=rating"]) == 2
    assert "did you mean score_chosen" in capsys.readouterr().err
    assert main(["inspect", str(file), "scale=3"]) == 2
    assert "'scale=3': neither columns.NAME=COLUMN nor data.NAME=VALUE" in capsys.readouterr().err


def test_a_page_of_the_data_is_written_beside_what_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(SCORED), "--html", str(tmp_path / "data.html")]) == 0
    assert capsys.readouterr().out.endswith(f"page: {tmp_path / 'data.html'}\n")
    page = (tmp_path / "data.html").read_text()
    assert all(f"<h2>{title}</h2>" in page for title in ("Rows", "Scores", "Goals", "Lengths", "Lints", "Samples"))
    assert main(["inspect", str(SCORED), str(SCORED), "--html", str(tmp_path / "data.html")]) == 2
    assert "a page shows one data set" in capsys.readouterr().err
