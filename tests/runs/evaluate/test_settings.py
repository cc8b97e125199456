import pytest
from pydantic import ValidationError

from prefboost.engines.engine import Sampling
from prefboost.engines.local.engine import Local
from prefboost.errors import SettingsError
from prefboost.runs.evaluate.settings import Answering, Evaluate, list_contestants, shorten_model_name


def evaluating(*models, **changes):
    return Evaluate(models=[Local(model=model) for model in models], benchmarks=["pairwise"], **changes)


def test_every_model_is_asked_for_every_goal_and_named_after_it():
    names = [one.name for one in list_contestants(evaluating("org/a", "runs/b", goals=[1, 7.5, None]))]
    assert names == ["a@1", "a@7.5", "a", "b@1", "b@7.5", "b"]


def test_models_of_one_name_are_told_apart_by_their_whole_names():
    assert [one.name for one in list_contestants(evaluating("x/m", "y/m/"))] == ["x/m", "y/m"]
    with pytest.raises(SettingsError, match="two models or files have one name: x/m"):
        list_contestants(evaluating("x/m", "x/m"))


def test_nobody_is_nothing_to_evaluate():
    with pytest.raises(SettingsError, match="no model to evaluate"):
        list_contestants(evaluating())


def test_a_file_may_not_be_called_like_a_model(tmp_path):
    with pytest.raises(SettingsError, match="one name: m"):
        list_contestants(evaluating("x/m", files=[tmp_path / "m.json"]))


@pytest.mark.parametrize("changes", [{"goals": [1, 1]}, {"goals": [float("inf")]}, {"limit": 0}])
def test_goals_that_stand_twice_or_are_no_numbers_are_refused(changes):
    with pytest.raises(ValidationError):
        evaluating("m", **changes)


def test_a_benchmark_stands_once():
    with pytest.raises(ValidationError, match="pairwise stands twice"):
        Evaluate(models=[], benchmarks=["pairwise", {"kind": "pairwise", "mode": "official"}])


def test_what_is_not_set_is_the_benchmarks_own():
    own = Sampling(temperature=0.7, top_p=0.9, max_tokens=99, seed=4)
    assert Answering().over(own) == own
    assert Answering(temperature=0.0, max_tokens=5).over(own) == Sampling(
        temperature=0, top_p=0.9, max_tokens=5, seed=4
    )


@pytest.mark.parametrize(
    ("model", "name"), [("package:smol", "smol"), ("runs/a/model/", "model"), ("r.jsonl", "r"), ("gpt-4o", "gpt-4o")]
)
def test_names_are_the_last_part(model, name):
    assert shorten_model_name(model) == name
