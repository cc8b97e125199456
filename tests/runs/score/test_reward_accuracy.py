from __future__ import annotations

import json

import pytest
from length_scorer import LengthScorer

import prefboost as pb
from prefboost.errors import DataError
from prefboost.runs.score.reward_accuracy import reward_accuracy
from prefboost.statistics import Bootstrap

QUICK = pb.RewardAccuracy(interval=Bootstrap(resamples=100))


def pairs_file(tmp_path, count=12):
    path = tmp_path / "pairs.jsonl"
    rows = [{"prompt": f"Q{at}", "chosen": "good " * (at % 3 + 1), "rejected": "bad bad"} for at in range(count)]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_a_file_of_pairs_is_scored_and_the_report_is_written_beside_the_scores(tmp_path):
    out = tmp_path / "report.json"
    report = pb.reward_accuracy(pairs_file(tmp_path), LengthScorer(), QUICK, out)
    assert report.accuracy.estimate == pytest.approx(2 / 3)
    written = json.loads(out.read_text())
    assert written["accuracy"]["estimate"] == pytest.approx(2 / 3)
    assert written["batch_change"] == 0
    assert (tmp_path / "report.scores.parquet").exists()


def test_a_table_in_memory_is_taken_too_and_nothing_is_written(tmp_path):
    path = pairs_file(tmp_path)
    report = reward_accuracy(pb.read(path), LengthScorer(), QUICK)
    assert report.pairs == 12
    assert sorted(one.name for one in tmp_path.iterdir()) == ["pairs.jsonl"]


def test_a_benchmarks_file_gives_the_published_figures(tmp_path):
    path = tmp_path / "bench.jsonl"
    rows = [
        {"id": at, "prompt": "Q", "chosen": "right", "rejected": "no" * at, "subset": "hep-go"} for at in range(1, 5)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    report = pb.reward_accuracy(path, LengthScorer(), QUICK, tmp_path / "report.json")
    assert report.figures["Reasoning"].estimate == 0.5
    assert any("rewardbench: 4 of 4 prompts scored" in line for line in report.lines())
    short = pb.reward_accuracy(path, LengthScorer(limit=6), QUICK)
    assert (short.figures, sum(short.missing.values())) == (None, 1)
    assert "withheld" in "\n".join(short.lines())


def test_what_holds_no_pairs_and_a_report_that_is_no_json_are_refused(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text(json.dumps({"prompt": "Q"}))
    with pytest.raises(DataError, match="found Prompts"):
        pb.reward_accuracy(path, LengthScorer(), QUICK)
    with pytest.raises(DataError, match="written as JSON"):
        pb.reward_accuracy(pairs_file(tmp_path), LengthScorer(), QUICK, tmp_path / "report.txt")


def test_data_that_hold_two_side_by_side_say_which_stood_first(tmp_path):
    path = tmp_path / "sides.jsonl"
    rows = [
        {"prompt": f"Q{at}", "response_a": f"one {at}", "response_b": f"two {at}", "label": int(at == 0)}
        for at in range(4)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    assert pb.reward_accuracy(path, LengthScorer(), QUICK).first.estimate == 0.75


@pytest.mark.torch
def test_a_reward_model_scores_alike_beside_others_and_by_itself_and_counts_what_is_too_long(tmp_path):
    pytest.importorskip("torch")
    from tests.training.conftest import build_folder

    from prefboost.engines.models.reward_model import load_reward_model

    found = load_reward_model(str(build_folder(tmp_path / "base")), "float32", heads=("reward",))
    folder = tmp_path / "rm"
    found.model.save_pretrained(folder)
    found.tokenizer.save_pretrained(folder)
    rows = [{"prompt": f"Q{at}", "chosen": "good " * (at + 1), "rejected": "bad"} for at in range(6)]
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    report = pb.reward_accuracy(path, pb.RewardModelScorer(model=str(folder), dtype="float32"), QUICK)
    assert report.pairs == 6
    assert report.batch_change < 1e-3
    cut = pb.reward_accuracy(path, pb.RewardModelScorer(model=str(folder), dtype="float32", max_length=30), QUICK)
    assert (cut.accuracy, list(cut.missing)) == (None, ["the conversation is longer than the model can see"])
