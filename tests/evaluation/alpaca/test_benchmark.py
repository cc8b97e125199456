import hashlib
import json

import pytest

from prefboost.errors import DataError
from prefboost.evaluation import assets
from prefboost.evaluation.alpaca.benchmark import AlpacaSet, read_gamed_rows
from prefboost.evaluation.assets import Assets
from prefboost.evaluation.benchmark import JudgeVerdict
from prefboost.statistics import Bootstrap

HEADER = "model,preference,index,std_delta_len,instruction_difficulty,not_gamed_baseline\n"


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Two small files in the place of the published ones."""
    texts = {
        "alpaca_eval_baseline": json.dumps([{"instruction": f"q{at}", "output": "a" * at} for at in range(6)]),
        "alpaca_eval_gamed": HEADER + "".join(f"x,0.{at + 2},{at},0.5,{at / 4},False\n" for at in range(6)),
    }
    known = dict(assets.ASSETS)
    for name, text in texts.items():
        known[name] = known[name]._replace(sha256=hashlib.sha256(text.encode()).hexdigest())
        (tmp_path / known[name].filename).write_text(text)
    monkeypatch.setattr(Assets.path, "__defaults__", (known,))
    return Assets(data_dir=tmp_path, offline=True)


def test_published_prompts_bring_their_baseline_and_difficulties(published):
    found = AlpacaSet().prepare(published, ["mine"])
    assert [prompt.uid for prompt in found.prompts] == [f"q{at}" for at in range(6)]
    assert found.given["gpt4_1106_preview"]["q3"] == ["aaa"]
    assert found.benchmark.difficulty == {f"q{at}": at / 4 for at in range(6)}
    assert found.benchmark.gamed.weight == pytest.approx(0.1)


def test_another_baseline_on_published_prompts_has_no_difficulties(published):
    found = AlpacaSet(baseline="other").prepare(published, ["mine", "other"])
    assert found.benchmark.difficulty is None
    assert found.benchmark.baseline == "other"


def test_own_prompts_need_no_asset_and_keep_the_rules(tmp_path):
    (tmp_path / "p.txt").write_text("a\nb\n")
    settings = AlpacaSet(prompts=tmp_path / "p.txt", mode="official", interval=Bootstrap(resamples=107))
    found = settings.prepare(Assets(offline=True), ["one", "two"])
    assert found.benchmark.baseline == "one"
    assert (found.benchmark.rules.mode, found.benchmark.rules.interval.resamples) == ("official", 107)
    rated = [JudgeVerdict(uid, "two", "x", 0.5, {"len_1": 1, "len_2": 2}) for uid in "ab"]
    assert found.benchmark.score(rated).figure("lc_win_rate", "two").note.startswith("minimal form")


def test_what_is_not_here_and_may_not_be_fetched_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PREFBOOST_CACHE", str(tmp_path / "none"))
    with pytest.raises(DataError, match="alpaca_eval_baseline"):
        AlpacaSet().prepare(Assets(data_dir=tmp_path, offline=True), ["mine"])


def test_another_file_than_the_gamed_rows_is_refused(tmp_path):
    (tmp_path / "df_gamed.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="not a file of gamed rows"):
        read_gamed_rows(tmp_path / "df_gamed.csv")
