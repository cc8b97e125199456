from __future__ import annotations

import json

import pytest
from length_scorer import LengthScorer

from prefboost.engines.local.engine import Local
from prefboost.engines.replay import Replay
from prefboost.errors import SettingsError
from prefboost.evaluation.assets import Assets
from prefboost.evaluation.protocols import Contestant
from prefboost.evaluation.reward_models import benchmark as reward_contest
from prefboost.evaluation.reward_models.accuracy import RewardAccuracy
from prefboost.evaluation.reward_models.benchmark import RewardContest, build_reward_scorer
from prefboost.statistics import Bootstrap

QUICK = RewardAccuracy(interval=Bootstrap(resamples=100), batch_check=2)


class Kept(LengthScorer):
    """A scorer of lengths that is asked as reward models are."""

    def score_stored(self, table, session):
        return self.score(table)


@pytest.fixture
def lengths(monkeypatch):
    """Models that score by length; the one called odd prefers short completions."""
    monkeypatch.setattr(
        reward_contest,
        "build_reward_scorer",
        lambda one, options: Kept(sign=-1.0 if one.name == "odd" else 1.0, **options),
    )


def contestants(*names):
    return [Contestant(name, Local(model=name)) for name in names]


def hard(path, count=4):
    rows = [
        {"id": at, "prompt": f"Q{at}", "chosen": "right", "rejected": "no" * at, "subset": "hep-go"}
        for at in range(1, count + 1)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_pairs_and_published_benchmarks_give_figures_and_rows_to_compare(tmp_path, lengths):
    pairs = [{"prompt": f"Q{at}", "chosen": "good " * (at % 3 + 1), "rejected": "bad bad"} for at in range(12)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    own = RewardContest(file="pairs.jsonl", report=QUICK)
    found = own.measure(contestants("even", "odd"), Assets(data_dir=tmp_path), folder=tmp_path / "out")
    assert found.results.figure("accuracy", "even").value.estimate == pytest.approx(100 * 2 / 3)
    assert found.results.figure("accuracy", "odd").value.estimate == pytest.approx(100 / 3)
    assert found.results.figure("over_length", "even").value.estimate == 0
    assert len(found.verdicts) == 24
    published = RewardContest(file=hard(tmp_path / "bench.jsonl"), report=QUICK)
    results = published.measure(contestants("even"), Assets(), folder=tmp_path / "out").results
    assert results.figures[0].group == ""
    assert results.figure("accuracy", "even", "Reasoning").value.estimate == 50


def test_completions_without_a_score_withhold_the_figure_and_raise_an_alarm(tmp_path, lengths):
    rows = [{"prompt": f"Q{at}", "chosen": "x" * at, "rejected": "yy"} for at in range(1, 9)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    own = RewardContest(file=tmp_path / "pairs.jsonl", report=QUICK, scorer={"limit": 6})
    found = own.measure(contestants("even"), Assets(), folder=tmp_path / "out")
    figure = found.results.figure("accuracy", "even")
    assert (figure.value, figure.missing, figure.rows) == (None, 2, 8)
    assert found.results.alarms == ("even gave no score to 2: the conversation is longer than the model can see",)
    assert [one.fault for one in found.verdicts if one.value is None] == ["no score"] * 2


def test_a_reward_model_is_a_local_model_that_is_asked_for_no_goal(tmp_path):
    made = build_reward_scorer(Contestant("m", Local(model="m", device="cpu")), {"max_length": 4096})
    assert (made.model, made.device, made.dtype, made.max_length) == ("m", "cpu", "auto", 4096)
    assert build_reward_scorer(Contestant("m", Local(model="m", dtype="float32")), {}).dtype == "float32"
    with pytest.raises(SettingsError, match="m is not a model on this machine"):
        build_reward_scorer(Contestant("m", Replay(path="r.jsonl")), {})
    with pytest.raises(SettingsError, match="takes no goal"):
        build_reward_scorer(Contestant("m@10", Local(model="m"), 10.0), {})
    with pytest.raises(SettingsError, match="max_tokens is not a setting of a reward model"):
        build_reward_scorer(Contestant("m", Local(model="m")), {"max_tokens": 1})
    with pytest.raises(SettingsError, match="reward_bench has no file"):
        RewardContest().measure([], Assets(), folder=tmp_path)


@pytest.mark.torch
def test_a_real_reward_model_scores_alike_in_any_batch_and_is_not_computed_again(tmp_path):
    pytest.importorskip("torch")
    from tests.training.conftest import build_folder

    from prefboost.engines.models.reward_model import load_reward_model

    found = load_reward_model(str(build_folder(tmp_path / "base")), "float32", heads=("reward",))
    found.model.save_pretrained(tmp_path / "rm")
    found.tokenizer.save_pretrained(tmp_path / "rm")
    own = RewardContest(file=hard(tmp_path / "bench.jsonl"), report=QUICK)
    one = Contestant("rm", Local(model=str(tmp_path / "rm"), dtype="float32", device="cpu"))
    first = own.measure([one], Assets(), folder=tmp_path / "out")
    assert first.results.alarms == ()
    assert own.measure([one], Assets(), folder=tmp_path / "out").results.record() == first.results.record()
