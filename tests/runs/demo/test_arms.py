from __future__ import annotations

from prefboost.losses import WeightedSum
from prefboost.runs.demo.arms import build_train_settings, list_arms
from prefboost.runs.demo.completions import Demo


def test_there_are_two_kinds_at_two_betas_with_folders_of_their_own() -> None:
    arms = list_arms(Demo(beta=0.4, small_beta=0.01))
    assert [(arm.kind, arm.beta, arm.key) for arm in arms] == [
        ("augmented", 0.4, "augmented"),
        ("plain", 0.4, "plain"),
        ("augmented", 0.01, "augmented_small"),
        ("plain", 0.01, "plain_small"),
    ]
    assert arms[3].name == "plain DPO, beta 0.01"


def test_policies_differ_in_beta_alone_and_mix_likelihood_in_the_same_proportion() -> None:
    settings = Demo()
    trains = {arm.key: build_train_settings(settings, arm) for arm in list_arms(settings)}
    assert trains["augmented"] == trains["plain"] and trains["augmented_small"] == trains["plain_small"]
    assert len({train.model_copy(update={"loss": None}).model_dump_json() for train in trains.values()}) == 1
    for train, beta in ((trains["plain"], settings.beta), (trains["plain_small"], settings.small_beta)):
        assert isinstance(train.loss, WeightedSum)
        assert [term.weight / beta for term in train.loss.terms][1] == settings.likelihood
