import json
from pathlib import Path

import pytest

from prefboost.cli.main import main


def verdict_file(path, share):
    lines = [
        {"uid": f"p{at}", "model": "mine", "part": part, "value": share + at / 1000,
         "facts": {"len_1": 100 + at, "len_2": 120, "model_first": part == "model_first"}}
        for at in range(20) for part in ("baseline_first", "model_first")
    ]  # fmt: skip
    path.write_text("\n".join(map(json.dumps, lines)))
    return str(path)


def test_stored_verdicts_are_scored_and_two_evaluations_compared(tmp_path, capsys):
    for name, share in (("one", 0.6), ("two", 0.4)):
        source = verdict_file(tmp_path / f"{name}.jsonl", share)
        settings = ["rules.interval.resamples=100"]
        assert main(["evaluate", *settings, "--verdicts", source, "--out", str(tmp_path / name)]) == 0
    assert "| mine | lc_win_rate (%) |" in capsys.readouterr().out
    assert json.loads((tmp_path / "one" / "results.json").read_text())["schema"] == 1
    assert main(["compare", str(tmp_path / "one"), str(tmp_path / "two")]) == 0
    assert "| mine | mine | +20.00 [" in capsys.readouterr().out
    assert main(["compare", str(tmp_path / "one"), str(tmp_path / "two"), "--drift"]) == 0
    assert "| -20.00 [" in (said := capsys.readouterr().out) and "not the one that it was" in said
    assert main(["compare", str(tmp_path / "one"), str(tmp_path / "one"), "--drift"]) == 0
    assert "no drift is to be seen" in capsys.readouterr().out


def test_nothing_to_judge_is_said_without_a_traceback(capsys):
    assert main(["evaluate"]) == 2
    assert "give completions and --baseline" in capsys.readouterr().err


def test_the_former_selfcheck_says_where_it_is_now(capsys):
    for former in (["--selfcheck"], ["--selfcheck", "--oracles", "published"]):
        assert main(["evaluate", *former]) == 2
        assert "python benchmarks/selfcheck.py" in capsys.readouterr().err


def test_files_of_one_name_are_refused(tmp_path, capsys):
    path = tmp_path / "x.json"
    path.write_text('[{"instruction": "q", "output": "a"}]')
    assert main(["evaluate", str(path), "--baseline", str(path), "judge=x", "-o", str(tmp_path / "o")]) == 2
    assert "two files have one name" in capsys.readouterr().err


def test_without_a_judge_it_is_said_without_a_traceback(tmp_path, capsys):
    assert main(["evaluate", "--canary", "-o", str(tmp_path)]) == 2
    assert "the canary needs a judge" in capsys.readouterr().err


@pytest.mark.torch
def test_a_judge_is_asked_twice_and_has_not_drifted(tmp_path, tiny_model: Path, capsys):
    pytest.importorskip("torch")
    command = [
        "evaluate", "--canary", f"judge={tiny_model}", "judge.dtype=float32", "judge.device=cpu", "--quiet",
        "-o", str(tmp_path),
    ]  # fmt: skip
    assert main(command) == 0
    assert "asked for the first time" in capsys.readouterr().out
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "same winner            1.0000 [1.0000, 1.0000]" in shown
    assert "no drift is seen" in shown
