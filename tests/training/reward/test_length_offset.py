"""The offset of length: a known truth is recovered, and it is the point of greatest likelihood."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest

from prefboost.errors import DataError, SettingsError
from prefboost.losses.reward import BradleyTerry, Regression
from prefboost.training.reward.length_offset import fit_offset, fit_slopes, with_length_offset
from prefboost.training.reward.settings import TrainReward


def test_a_planted_coefficient_is_recovered() -> None:
    draw = np.random.default_rng(0)
    difference = draw.normal(size=20_000)
    first = draw.random(20_000) < 1 / (1 + np.exp(-0.7 * difference))
    longer = np.where(first, difference, -difference)
    assert fit_offset(longer, np.ones(20_000), np.ones(20_000)) == pytest.approx(0.7, abs=0.05)


def test_the_likelihood_is_greatest_there_with_soft_labels_and_weights() -> None:
    draw = np.random.default_rng(1)
    longer, wins, weight = draw.normal(size=200), draw.uniform(0.3, 1, 200), draw.uniform(0, 2, 200)

    def likelihood(offset: float) -> float:
        p = 1 / (1 + np.exp(-offset * longer))
        return float(np.sum(weight * (wins * np.log(p) + (1 - wins) * np.log(1 - p))))

    best = fit_offset(longer, wins, weight)
    assert all(likelihood(best) >= likelihood(best + step) for step in (-0.01, 0.01))


def test_equal_lengths_have_no_offset_and_a_perfect_rule_a_finite_one() -> None:
    ones = np.ones(5)
    assert fit_offset(np.zeros(5), ones, ones) == 0.0
    assert 0 < fit_offset(ones, ones, ones) <= 50.0
    assert fit_offset(ones, ones, np.zeros(5)) == 0.0


def test_a_weight_counts_as_so_many_pairs() -> None:
    longer, wins = np.array([1.0, -2.0, 0.5]), np.array([1.0, 1.0, 0.4])
    repeated = np.array([0, 0, 1, 2, 2, 2])
    weighted = fit_offset(longer, wins, np.array([2.0, 1.0, 3.0]))
    assert weighted == pytest.approx(fit_offset(longer[repeated], wins[repeated], np.ones(6)))


def test_slopes_are_those_within_prompts_whatever_prompts_have_in_common() -> None:
    draw = np.random.default_rng(2)
    beyond = [draw.normal(size=4) for _ in range(50)]
    labels = [np.stack([3 * each + draw.normal() * 100, -0.5 * each + draw.normal()], axis=1) for each in beyond]
    labels[0][1, 0] = np.nan
    assert fit_slopes(beyond, labels) == pytest.approx([3.0, -0.5])


def test_a_head_rated_once_a_prompt_has_no_slope() -> None:
    labels = [np.array([[1.0, 2.0], [2.0, np.nan]])]
    slopes = fit_slopes([np.array([-1.0, 1.0])], labels)
    assert slopes[0] == 0.5 and np.isnan(slopes[1])


def units(**changed: Any) -> dict[str, list[list[Any]]]:
    """Ten pairs of which the longer side wins seven."""
    usual = {
        "length_delta": [[1.0]] * 7 + [[-1.0]] * 3,
        "wins": [[None]] * 10,
        "weight": [[None]] * 10,
        "gap": [[2.0]] * 10,
    }
    return usual | changed


def offset_of(loss: Any, data: Any) -> Any:
    found, _ = with_length_offset(TrainReward(model="m", loss=loss), data)
    return found.loss.length_offset


def test_the_fit_is_that_of_the_loss_with_its_margins_weights_probabilities_and_smoothing() -> None:
    """Each is the minimum of the loss itself over the offset, all rewards being equal."""
    from dataclasses import fields

    import torch

    from prefboost.losses.reward import RewardBatch

    gaps, wins = [[0.5]] * 5 + [[1.5]] * 5, [[0.9]] * 4 + [[0.6]] * 6
    data = units(gap=gaps, wins=wins)
    flat = {name: torch.tensor([each[0] if each[0] is not None else float("nan") for each in data[name]]).double()
            for name in data}  # fmt: skip
    rest = {field.name: torch.zeros(11, 1).double() for field in fields(RewardBatch)}
    sides = {"chosen": torch.arange(10), "rejected": torch.full((10,), 10)}
    for changed in ({"gap": "margin"}, {"gap": "weight"}, {"label_smoothing": 0.1}, {"soft_labels": False}):
        best = offset_of({"kind": "bradley_terry", "length_offset": "fit", **changed}, data)
        at = [
            BradleyTerry(length_offset=best + step, **changed)(RewardBatch(**(rest | flat | sides))).sum().item()
            for step in (-0.01, 0.0, 0.01)
        ]
        assert at[1] < min(at[0], at[2]), changed


def test_scores_that_follow_length_give_every_head_its_slope() -> None:
    data = {"excess_length": [[-1.0, 1.0], [-2.0, 2.0]], "labels": [[[1.0, 5.0], [3.0, 4.0]], [[0.0, 6.0], [4.0, 4.0]]]}
    loss = {"kind": "regression", "aspects": ["a", "b"], "length_offset": "fit"}
    assert offset_of(loss, data) == pytest.approx((1.0, -0.5))
    settings, notes = with_length_offset(TrainReward(model="m", loss=loss), data)
    assert notes == {"length_offset/a": pytest.approx(1.0), "length_offset/b": pytest.approx(-0.5)}
    assert isinstance(settings.loss, Regression)


def test_where_no_prompt_tells_length_apart_the_fit_is_refused_by_name() -> None:
    data = {"excess_length": [[0.0], [0.0]], "labels": [[[1.0]], [[2.0]]]}
    with pytest.raises(DataError, match="the effect of length on overall cannot be fitted"):
        offset_of({"kind": "regression", "length_offset": "fit"}, data)


class Own(BradleyTerry.__base__):  # type: ignore[name-defined,misc]
    """Somebody's loss that has an offset."""

    compares: ClassVar[bool] = True
    needs_gap: ClassVar[bool] = False
    heads: ClassVar[tuple[str, ...]] = ("overall",)
    kind: str = "mine"
    length_offset: str = "fit"

    def __call__(self, batch: Any) -> Any:
        """Nothing."""


def test_a_loss_of_another_kind_is_refused_by_name() -> None:
    settings = TrainReward(model="m").model_copy(update={"loss": Own()})
    with pytest.raises(SettingsError, match="cannot be fitted for the loss mine"):
        with_length_offset(settings, units())
