"""`prefboost select`: counts, files, and mistakes in a line."""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path

import pytest

import prefboost.runs.select.select
from prefboost.cli.main import main
from prefboost.cli.select import read_select
from prefboost.preferences.score_selection import RejectionSampling
from prefboost.sources.stored import read_stored


@pytest.fixture
def scored(tmp_path: Path) -> Path:
    path = tmp_path / "scored.jsonl"
    rows = [
        {"prompt": f"question {at // 3}", "completion": f"completion {at}", "score": float(at % 3)} for at in range(12)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_best_are_written_and_counts_printed(
    scored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "sft.jsonl"
    assert main(["select", str(scored), "kind=best_of_n", "-o", str(out)]) == 0
    said = capsys.readouterr().out
    assert "4 of 12 completions kept, of 4 of 4 prompts" in said and "1.00 of all, 2.00 of those kept" in said
    assert "8 not kept: the completion was not selected by its score" in said
    assert [json.loads(line)["completion"][0]["content"] for line in out.read_text().splitlines()] == [
        f"completion {at}" for at in (2, 5, 8, 11)
    ]


def test_a_dry_run_counts_what_would_be_kept_of_the_first_records_and_writes_nothing(
    scored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "sft.jsonl"
    assert main(["select", str(scored), "kind=best_of_n", "-o", str(out), "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "4 of 12 completions kept, of 4 of 4 prompts: the first 12 completions",
        "mean score               1.00 of all, 2.00 of those kept",
        "8 not kept: the completion was not selected by its score",
    ]
    assert list(tmp_path.iterdir()) == [scored]


def test_counts_are_printed_as_json_also_where_nothing_is_kept(
    scored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["select", str(scored), "kind=score_at_least", "score=100", "-o", str(tmp_path / "none.jsonl")]
    assert main([*line, "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)
    assert (counts["kept"], counts["score mean kept"]) == (0, None)
    assert main(line) == 0 and "none of those kept" in capsys.readouterr().out


def test_settings_of_the_strategy_stand_alone() -> None:
    found = read_select(
        ["kind=rejection_sampling", "beta=2", "count=3", "select.max_completion_words=9", "format=prefboost"]
    )
    assert found.strategy == RejectionSampling(beta=2, count=3) and found.format == "prefboost"
    assert found.select is not None and found.select.max_completion_words == 9


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "no strategy is named"),
        (["kind=best_of"], "did you mean best_of_n?"),
        (["kind=best_of_n", "cont=2"], "did you mean count?"),
        (["kind=best_of_n", "format=axolotl"], "format"),
    ],
)
def test_mistakes_are_answered_with_a_line(
    overrides: list[str], message: str, scored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["select", str(scored), *overrides, "-o", str(tmp_path / "x.jsonl")]) == 2
    said = capsys.readouterr().err
    assert message in said and "Traceback" not in said and not (tmp_path / "x.jsonl").exists()


@pytest.mark.skipif(os.name != "posix", reason="limits of POSIX")
def test_rows_that_do_not_fit_on_the_disk_of_the_output_are_an_error_that_names_its_folder(
    scored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource

    (tmp_path / "here").mkdir()
    monkeypatch.setattr(prefboost.runs.select.select, "read_stored", functools.partial(read_stored, rows=3))
    line = ["select", str(scored), "kind=best_of_n", "-o", str(tmp_path / "here" / "out.jsonl")]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        assert main(line) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert f"error: {tmp_path / 'here'}: the disk is full" in capsys.readouterr().err
    assert list((tmp_path / "here").iterdir()) == []
    assert main(line) == 0


def test_a_folder_is_written_and_found_again_also_of_merged_shards(
    scored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["select", str(scored), "kind=best_of_n", "file_type=jsonl"]
    assert main([*line, "-o", f"{tmp_path}/best/", "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)
    assert main([*line, "-o", f"{tmp_path}/best/"]) == 0
    assert "best exists already, written by the same command" in capsys.readouterr().out
    for index in (0, 1):
        assert main([*line, "-o", f"{tmp_path}/merged/", "--shard", f"{index}/2"]) == 0
    capsys.readouterr()
    assert main(["merge", *(f"{tmp_path}/merged.shard-{index}-of-2" for index in (0, 1)), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {**counts, "out": str(tmp_path / "merged")}
    names = [path.relative_to(tmp_path / "best") for path in (tmp_path / "best").rglob("*.jsonl")]
    assert names and all(
        (tmp_path / "best" / name).read_bytes() == (tmp_path / "merged" / name).read_bytes() for name in names
    )
