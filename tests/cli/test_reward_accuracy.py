from __future__ import annotations

import json

from prefboost.cli.main import main


def pairs_file(tmp_path):
    path = tmp_path / "pairs.jsonl"
    rows = [{"prompt": f"Q{at}", "chosen": "good " * (at % 3 + 1), "rejected": "bad bad"} for at in range(9)]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_the_report_is_printed_and_written(tmp_path, capsys):
    out = tmp_path / "report.json"
    options = ["kind=length_scorer:LengthScorer", "report.interval.resamples=100", "-o", str(out), "--quiet"]
    assert main(["reward-accuracy", str(pairs_file(tmp_path)), *options]) == 0
    printed = capsys.readouterr().out
    assert "chosen scores higher   0.67" in printed
    assert "taking the longer" in printed
    assert "it is not better than taking the longer completion" in printed
    assert main(["reward-accuracy", str(pairs_file(tmp_path)), *options, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pairs"] == 9
    assert json.loads(out.read_text())["pairs"] == 9


def test_a_wrong_setting_is_one_message_and_exit_code_two(tmp_path, capsys):
    assert main(["reward-accuracy", str(pairs_file(tmp_path)), "kind=rules", "report.tie=half"]) == 2
    assert "did you mean ties" in capsys.readouterr().err
