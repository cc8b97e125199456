import pytest

from prefboost.errors import SettingsError
from prefboost.evaluation.alpaca.pairwise import Pairwise
from prefboost.evaluation.assets import Assets
from prefboost.evaluation.benchmark import JudgeReply
from prefboost.statistics import Bootstrap


def test_goals_of_one_model_are_compared_on_any_prompts(tmp_path):
    (tmp_path / "p.txt").write_text("a\nb\nc\n")
    settings = Pairwise(prompts=tmp_path / "p.txt", baseline="m@1", interval=Bootstrap(resamples=100), threads=1)
    found = settings.prepare(Assets(), ["m@1", "m@10"])
    said = {"m@1": {uid: ["short"] for uid in "abc"}, "m@10": {uid: ["longer " * 3] for uid in "abc"}}
    requests = found.benchmark.build(found.prompts, said)
    assert {request.model for request in requests} == {"m@10"}
    assert len(requests) == 6
    prefers_second = [found.benchmark.parse(request, JudgeReply(logprobs=(-5.0, -0.01))) for request in requests]
    results = found.benchmark.score(prefers_second)
    assert results.benchmark == "pairwise"
    assert results.figure("win_rate", "m@10").value.estimate == pytest.approx(50.0)


def test_without_prompts_nothing_can_be_compared():
    with pytest.raises(SettingsError, match="pairwise has no prompts"):
        Pairwise().prepare(Assets(), ["a", "b"])
