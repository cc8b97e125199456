import json

import pytest

from prefboost.errors import DataError, SettingsError
from prefboost.evaluation.assets import Assets
from prefboost.runs.evaluate.rescore import rescore_verdicts
from prefboost.runs.evaluate.settings import Evaluate


@pytest.fixture
def verdicts(tmp_path):
    rows = [
        {"uid": f"p{at}", "model": "m", "part": part, "value": 0.5 + at / 100, "facts": {"len_1": 9 + at, "len_2": 12}}
        for at in range(9) for part in ("model_first", "baseline_first")
    ]  # fmt: skip
    path = tmp_path / "v.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def benchmark(**changes):
    return {"kind": "alpaca_eval", "interval": {"resamples": 100}, "threads": 1, **changes}


def test_verdicts_without_published_data_are_scored_in_the_minimal_form_and_written(tmp_path, verdicts):
    results = rescore_verdicts(Evaluate(benchmarks=[benchmark()]), verdicts, tmp_path / "out")
    assert results.figure("lc_win_rate", "m").note.startswith("minimal form")
    assert results.figure("win_rate", "m").value.estimate == pytest.approx(54.0)
    assert (tmp_path / "out" / "results.json").exists()
    assert len((tmp_path / "out" / "verdicts.jsonl").read_text().splitlines()) == 18


def test_a_data_folder_without_the_published_data_is_refused_not_passed_over(tmp_path, verdicts, monkeypatch):
    monkeypatch.setenv("PREFBOOST_CACHE", str(tmp_path / "none"))
    settings = Evaluate(benchmarks=[benchmark()], assets=Assets(data_dir=tmp_path, offline=True))
    with pytest.raises(DataError, match="alpaca_eval_baseline"):
        rescore_verdicts(settings, verdicts, tmp_path / "out")


def test_several_benchmarks_have_no_one_file_of_verdicts(tmp_path, verdicts):
    with pytest.raises(SettingsError, match="one benchmark"):
        rescore_verdicts(Evaluate(benchmarks=["alpaca_eval", "pairwise"]), verdicts, tmp_path / "out")


def test_verdicts_of_arena_hard_and_mt_bench_need_none_of_their_data(tmp_path):
    rows = [
        {"uid": f"q{at}", "model": "m", "part": f"game{game}", "value": 1.0,
         "facts": {"category": "hard_prompt", "game": game, "label": "B>A" if game == 1 else "A>B"}}
        for at in range(5) for game in (1, 2)
    ]  # fmt: skip
    (tmp_path / "arena.jsonl").write_text("\n".join(map(json.dumps, rows)))
    arena = Evaluate(benchmarks=[{"kind": "arena_hard", "interval": {"resamples": 100}}])
    found = rescore_verdicts(arena, tmp_path / "arena.jsonl", tmp_path / "one")
    assert found.figure("win_rate", "m", "hard_prompt").value.estimate == pytest.approx(100)
    grades = [
        {"uid": "81", "model": "m", "part": f"turn{turn}", "value": 7.0, "facts": {"category": "writing", "turn": turn}}
        for turn in (1, 2)
    ]
    (tmp_path / "mt.jsonl").write_text("\n".join(map(json.dumps, grades)))
    mt = Evaluate(benchmarks=[{"kind": "mt_bench", "interval": {"resamples": 100}}])
    assert rescore_verdicts(mt, tmp_path / "mt.jsonl", tmp_path / "two").figure("score", "m").value.estimate == 7
