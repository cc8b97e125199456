from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import ValidationError

from prefboost.losses import DPO, LOSSES, RPO, SFT, Loss, Term, WeightedSum
from prefboost.losses.weighted_sum import find_betas, replace_betas, replace_preference
from prefboost.settings import Settings, choice

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch


class Train(Settings):
    loss: Annotated[Loss, choice(LOSSES)]


def test_a_sum_is_the_sum_with_the_first_terms_rewards(numbers, batch):
    pairs = batch(numbers())
    output = WeightedSum(terms=(Term(loss=DPO(beta=0.3)), Term(loss=SFT(), weight=0.2)))(pairs)
    torch.testing.assert_close(output.losses, DPO(beta=0.3)(pairs).losses + 0.2 * SFT()(pairs).losses)
    torch.testing.assert_close(output.reward_chosen, DPO(beta=0.3)(pairs).reward_chosen)


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        (["sft", "simpo"], (False, False, False)),
        (["sft", "dpo"], (True, False, False)),
        (["sft", "rpo"], (True, True, False)),
        (["dpo", "aot"], (True, False, True)),
    ],
)
def test_a_sum_needs_what_any_of_its_terms_needs(terms, expected):
    built = WeightedSum(terms=[{"loss": kind} for kind in terms])
    assert (built.needs_reference, built.needs_scores, built.whole_batch) == expected


def test_the_dump_of_a_sum_in_a_recipe_loads_to_itself():
    recipe = Train(loss={"kind": "sum", "terms": [{"loss": "dpo"}, {"loss": {"kind": "sft"}, "weight": 0.2}]})
    assert Train(**recipe.model_dump()) == recipe
    assert recipe.model_dump(mode="json")["loss"]["terms"][1] == {
        "loss": {"kind": "sft", "nll_mean": "completion"},
        "weight": 0.2,
    }


@pytest.mark.parametrize(
    ("terms", "message"),
    [([], "at least 1"), ([{"loss": "dpoo"}], "did you mean dpo"), ([{"loss": {"kind": "sum", "terms": []}}], "sum")],
)
def test_a_sum_of_nothing_of_the_unknown_or_of_sums_is_refused(terms, message):
    with pytest.raises(ValidationError, match=message):
        WeightedSum(terms=terms)


def test_anyones_class_can_be_a_loss():
    recipe = Train(loss={"kind": "prefboost.losses:DPO", "beta": 0.5})
    assert recipe.loss == DPO(beta=0.5)


class Wrapper(Settings):
    """Somebody's loss around another one."""

    inner: Annotated[Loss, choice(LOSSES)]
    beta: float | None = None


@pytest.mark.parametrize("kind", [kind for kind in LOSSES if kind != "sum"])
def test_a_beta_is_found_and_replaced_alone_in_a_sum_and_in_a_wrapper(kind):
    loss = LOSSES[kind]()
    for whole in (loss, WeightedSum(terms=({"loss": "sft"}, Term(loss=loss, weight=0.5))), Wrapper(inner=loss)):
        betas = find_betas(whole)
        assert len(betas) == hasattr(loss, "beta")
        assert find_betas(replace_betas(whole, 0.037)) == [0.037] * len(betas)
        # Nothing but the beta changes, and the loss that was given stays as it is.
        assert all(replace_betas(replace_betas(whole, 0.037), beta) == whole for beta in betas)
        assert find_betas(whole) == betas


def test_the_preference_term_of_a_sum_is_replaced_and_the_others_stay():
    whole = WeightedSum(terms=(Term(loss=SFT(), weight=0.2), Term(loss=DPO(beta=0.3), weight=2.0)))
    swapped = replace_preference(whole, RPO())
    assert swapped.terms == (whole.terms[0], Term(loss=RPO(), weight=2.0))
    assert replace_preference(DPO(), RPO()) == RPO() == replace_preference(WeightedSum(terms=({"loss": "sft"},)), RPO())
