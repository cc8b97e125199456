"""``prefboost diagnose unlearning``: checkpoints stand alone, settings as key=value."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from tests.diagnosis.test_controllability import VECTORS, build_table, build_vectors
from tests.diagnosis.test_unlearning import scored_pairs
from tests.runs.reproduce.test_equal_kl import RESULTS
from tests.scoring.conftest import policies  # noqa: F401 - a fixture

from prefboost.cli.main import main
from prefboost.sources.write import write


@pytest.mark.torch
def test_it_prints_changes_by_side_and_score_and_writes_the_report(
    policies: tuple[Path, Path],  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source, out = tmp_path / "pairs.parquet", tmp_path / "report.json"
    write(scored_pairs(), source)
    policy, start = map(str, policies)
    line = ["diagnose", "unlearning", str(source), policy, f"start={start}", "scores=[6]", "-o", str(out), "--quiet"]
    assert main(line) == 0
    printed = capsys.readouterr().out
    assert "rejected, 6 <= score" in printed and "nats per completion" in printed and "margin" in printed
    assert main([*line, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["completions"] == 8
    assert json.loads(out.read_text()) == {"diagnosis": "unlearning", **{k: v for k, v in record.items() if k != "out"}}


def test_controllability_reads_scored_completions_of_several_goals(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "scored.parquet", tmp_path / "controllability.json"
    write(build_table(lambda goal, _: (goal, 5), prompts=6), source)
    assert main(["diagnose", "controllability", str(source), "data_top=8", "-o", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "slope: 1.00 [1.00, 1.00]" in printed and "calibration error: 0.00" in printed
    assert "above the training data's scores" in printed
    assert json.loads(out.read_text())["diagnosis"] == "controllability"
    assert main(["diagnose", "controllability", str(source), "-o", str(source)]) == 2


def test_goals_of_aspects_are_read_from_a_file_and_weighted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = tmp_path / "scored.parquet", tmp_path / "controllability.json"
    write(build_vectors(lambda style, depth, _: (style, depth / 2, 5), VECTORS, prompts=6), source)
    line = ["diagnose", "controllability", str(source), "weights={style: 1}", "data_tops.depth=3", "-o", str(out)]
    assert main(line) == 0
    printed = capsys.readouterr().out
    assert "depth:" in printed and "slope: 0.50 [0.50, 0.50]" in printed
    assert "weighted aspects: depth" in printed
    record = json.loads(out.read_text())
    assert [goal["extrapolated"] for goal in record["vectors"]["depth"]["goals"]] == [False, True]


def test_frontier_reads_the_cells_of_a_reproduction(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells, out = tmp_path / "run" / "cells", tmp_path / "frontier.json"
    cells.mkdir(parents=True)
    for result in RESULTS:
        (cells / f"{result.cell.name}.json").write_text(json.dumps(asdict(result)))
    assert main(["diagnose", "frontier", str(tmp_path / "run"), "against=dpo", "at=[4]", "-o", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "ra less dpo at equal KL:" in printed and "at 4 nats: 6.70 less 5.90, +0.80" in printed
    assert json.loads(out.read_text())["leads"][0]["verdict"] == "ahead"
    assert main(["diagnose", "frontier", str(tmp_path / "run"), "agianst=dpo", "-o", str(out)]) == 2
    assert "against" in capsys.readouterr().err


def test_wrong_arguments_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", "unlerning", "x.parquet", "m"]) == 2
    assert "no diagnosis 'unlerning'" in capsys.readouterr().err
    assert main(["diagnose", "unlearning", "x.parquet", "start=m"]) == 2
    assert "no checkpoint is named" in capsys.readouterr().err
    assert main(["diagnose", "unlearning", "x.parquet", "m", "start=m", "scroes=[1]"]) == 2
    assert "scores" in capsys.readouterr().err
