import json

import pytest

from prefboost.cli.main import main

FILES = ("arena_bootstrap_stats_arena_hard.jsonl", "arena_bootstrap_stats_20k_votes.jsonl")


def made(folder, lower: float) -> None:
    row = {"model": "m", "score": 1.0, "lower": lower, "upper": 1.0, "results": [1.0] * 40}
    for name in FILES:
        (folder / name).write_text(json.dumps(row) + "\n")


@pytest.mark.parametrize(("lower", "code"), [(1.0, 0), (1.1, 1)])
def test_a_deviation_that_is_not_allowed_is_exit_code_1(tmp_path, capsys, lower, code):
    made(tmp_path, lower)
    assert main(["evaluate", "--selfcheck", "--oracles", str(tmp_path)]) == code
    shown = capsys.readouterr().out
    assert "absent: MT-Bench, stored judgements (no mt_bench_judgements.parquet)" in shown
    assert ("| m lower | 0.1 | 1e-06 | NO |" in shown) == bool(code)


def test_figures_come_as_json(tmp_path, capsys):
    made(tmp_path, 1.0)
    assert main(["evaluate", "--selfcheck", "--oracles", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True


def test_no_figures_at_all_are_a_mistake_not_a_success(tmp_path, capsys):
    assert main(["evaluate", "--selfcheck", "--oracles", str(tmp_path)]) == 2
    assert "nothing was checked" in capsys.readouterr().err
