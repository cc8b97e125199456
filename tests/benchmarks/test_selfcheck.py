from __future__ import annotations

import json
from pathlib import Path

import pytest
from published_figures.oracle import Check, Oracle
from selfcheck import ORACLES, compare_figures, find_oracle_folder, main

from prefboost.errors import DataError, UnreadableFile

FILES = ("arena_bootstrap_stats_arena_hard.jsonl", "arena_bootstrap_stats_20k_votes.jsonl")


def read_share(folder: Path):
    yield Check("made", "share", {"a": 1.0}, {"a": float((folder / "a.txt").read_text())}, 0.1)


TWO = (Oracle("made", ("a.txt",), read_share), Oracle("other", ("b.txt", "c.txt"), read_share))
NEEDY = Oracle("needy", ("a.txt",), read_share, "no_such_library")


def write_bootstraps(folder: Path, lower: float) -> None:
    row = {"model": "m", "score": 1.0, "lower": lower, "upper": 1.0, "results": [1.0] * 40}
    for name in FILES:
        (folder / name).write_text(json.dumps(row) + "\n")


def test_what_is_there_is_checked_and_what_is_absent_is_named(tmp_path):
    (tmp_path / "a.txt").write_text("1.05")
    outcome = compare_figures(tmp_path, [*TWO, NEEDY])
    assert outcome.is_ok
    assert outcome.absent["other"] == "no b.txt, c.txt"
    assert outcome.absent["needy"].startswith("no_such_library is not installed")
    lines = list(outcome.lines())
    assert lines[2] == "| made | share | 1 | 1 | 1.05 | a | 0.05 | 0.1 | yes |"
    assert lines[-1] == "1 checks, 0 over the allowed deviation, 2 oracles absent"


def test_a_deviation_over_the_allowed_one_is_not_ok(tmp_path):
    (tmp_path / "a.txt").write_text("2")
    outcome = compare_figures(tmp_path, TWO)
    assert not outcome.is_ok
    assert "| NO |" in "\n".join(outcome.lines())
    assert outcome.record()["checks"][0]["deviation"] == 1.0


def test_a_folder_without_any_figures_is_no_success(tmp_path):
    with pytest.raises(DataError, match="nothing was checked"):
        compare_figures(tmp_path, TWO)
    with pytest.raises(DataError, match="there is no folder"):
        find_oracle_folder(tmp_path / "none")
    assert find_oracle_folder(None, [str(tmp_path / "none"), str(tmp_path)]) == tmp_path


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "a.txt").write_text("no number")
    with pytest.raises(UnreadableFile, match="made cannot be computed"):
        compare_figures(tmp_path, TWO)


def test_every_oracle_needs_a_file_and_has_a_name_of_its_own():
    assert len({oracle.name for oracle in ORACLES}) == len(ORACLES)
    assert all(oracle.files for oracle in ORACLES)


@pytest.mark.parametrize(("lower", "code"), [(1.0, 0), (1.1, 1)])
def test_a_deviation_that_is_not_allowed_is_exit_code_1(tmp_path, capsys, lower, code):
    write_bootstraps(tmp_path, lower)
    assert main([str(tmp_path)]) == code
    shown = capsys.readouterr().out
    assert "absent: MT-Bench, stored judgements (no mt_bench_judgements.parquet)" in shown
    assert ("| m lower | 0.1 | 1e-06 | NO |" in shown) == bool(code)


def test_figures_come_as_json(tmp_path, capsys):
    write_bootstraps(tmp_path, 1.0)
    assert main([str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True


def test_no_figures_at_all_are_a_mistake_not_a_success(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert "nothing was checked" in capsys.readouterr().err
