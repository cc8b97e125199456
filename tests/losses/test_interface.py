from __future__ import annotations

import dataclasses

import pytest

from prefboost.errors import DataError, MissingScores, SettingsError
from prefboost.losses import PairLogps

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch


def test_delta_is_the_difference_of_the_two_log_ratios(numbers, batch):
    a, pairs = numbers(), batch(numbers())
    expected = (a["chosen"] - a["ref_chosen"]) - (a["rejected"] - a["ref_rejected"])
    assert pairs.delta.detach().numpy() == pytest.approx(expected)
    assert (pairs.chosen - pairs.rejected - pairs.ref_delta).detach().numpy() == pytest.approx(expected)


def test_averages_are_per_token_and_an_empty_completion_counts_as_one_token(numbers, batch):
    arrays = numbers(3)
    arrays["length_chosen"][0] = 0
    pairs = batch(arrays)
    assert pairs.average_chosen[0] == pairs.chosen[0]
    assert pairs.average_rejected.detach().numpy() == pytest.approx(arrays["rejected"] / arrays["length_rejected"])
    reference = (pairs.ref_chosen / pairs.length_chosen.clamp(min=1)) - pairs.ref_rejected / pairs.length_rejected
    torch.testing.assert_close(pairs.average_delta, pairs.average_chosen - pairs.average_rejected - reference)


def test_the_distance_gap_says_how_much_nearer_the_chosen_completion_is(numbers, batch):
    pairs = batch(numbers())
    assert (pairs.distance_gap > 0).all()
    torch.testing.assert_close(pairs.score_gap, pairs.score_chosen - pairs.score_rejected)


@pytest.mark.parametrize("shape", [(2,), (3, 1), ()])
def test_a_tensor_of_another_shape_is_named(numbers, batch, shape):
    with pytest.raises(DataError, match=r"PairLogps.rejected has shape .* chosen has \(3,\)"):
        dataclasses.replace(batch(numbers(3)), rejected=torch.zeros(shape))


def test_what_is_missing_is_named_when_it_is_asked_for():
    first = torch.zeros(1)
    bare = PairLogps(chosen=first, rejected=first, length_chosen=first, length_rejected=first)
    with pytest.raises(SettingsError, match=r"PairLogps\.ref_chosen is None"):
        _ = bare.delta
    with pytest.raises(MissingScores, match=r"PairLogps\.score_chosen is None"):
        _ = bare.score_gap
    with pytest.raises(MissingScores, match=r"PairLogps\.distance_rejected is None"):
        _ = bare.distance_gap
