import pytest

from prefboost.errors import SettingsError
from prefboost.evaluation.baseline import resolve_baseline


def test_the_first_model_is_the_baseline_where_none_is_named():
    assert resolve_baseline(None, ["a", "b"]) == ("a", {})
    assert resolve_baseline("b", ["a", "b"]) == ("b", {})


def test_a_file_brings_its_completions_and_its_name(tmp_path):
    (tmp_path / "old.json").write_text('[{"instruction": "q", "output": "a"}]')
    name, given = resolve_baseline(str(tmp_path / "old.json"), ["new"])
    assert (name, given) == ("old", {"old": {"q": ["a"]}})


@pytest.mark.parametrize(
    ("named", "models", "said"),
    [
        ("c", ["a", "b"], "neither a file nor a model of this run"),
        (None, ["a"], "only with itself"),
        ("a", ["a"], "only with itself"),
    ],
)
def test_a_baseline_that_is_nowhere_or_alone_is_refused(named, models, said):
    with pytest.raises(SettingsError, match=said):
        resolve_baseline(named, models)


def test_a_file_called_like_a_model_is_refused(tmp_path):
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(SettingsError, match="two files have one name: a"):
        resolve_baseline(str(tmp_path / "a.json"), ["a"])
