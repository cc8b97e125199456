from pathlib import Path

import pytest

from prefboost.cli.main import main


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
