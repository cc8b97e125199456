"""What holds for every loss, whatever its formula."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest
from waiting import PATIENCE_S

from prefboost.errors import MissingScores, SettingsError
from prefboost.losses import LOSSES, Loss
from prefboost.losses.kinds import SINGLE_LOSSES

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

SHIPPED = {kind: loss() for kind, loss in SINGLE_LOSSES.items()}
VARIANTS = {
    **SHIPPED,
    "dpo, smoothed": LOSSES["dpo"](label_smoothing=0.3),
    "dpo, normalised": LOSSES["dpo"](normalise=True),
    "ipo, to the letter": LOSSES["ipo"](normalise=False),
    "bco, shifted": LOSSES["bco_pair"](reward_shift="batch"),
    "rpo, squared": LOSSES["rpo"](distance="squared"),
    "rpo, forward": LOSSES["rpo"](distance="forward_kl"),
    "rpo, by distance": LOSSES["rpo"](gap="distance"),
    "margin, linear": LOSSES["margin_dpo"](margin="linear"),
    "cpo, batch": LOSSES["cpo"](nll_mean="batch"),
    "sft, sum": LOSSES["sft"](nll_mean="none"),
    "sum": LOSSES["sum"](terms=({"loss": "dpo"}, {"loss": "sft", "weight": 0.2})),
}


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS.keys())
def loss(request):
    return request.param


def test_settings_load_without_torch():
    code = "import sys, prefboost.losses; prefboost.losses.LOSSES['dpo'](beta=0.01); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=PATIENCE_S)


@pytest.mark.parametrize("kind", LOSSES)
def test_a_loss_stands_in_the_dict_under_its_own_kind(kind):
    assert LOSSES[kind].model_fields["kind"].default == kind


def test_a_loss_fits_the_protocol(loss):
    assert isinstance(loss, Loss)
    assert type(loss)(**loss.model_dump()) == loss


def test_every_setting_has_a_sentence_that_says_what_it_is(loss):
    for name, field in type(loss).model_fields.items():
        assert field.description and len(field.description.split()) >= 3, name


def test_losses_and_rewards_have_one_number_a_pair_and_rewards_no_gradient(loss, numbers, batch):
    output = loss(batch(numbers(5)))
    assert output.losses.shape == output.reward_chosen.shape == output.reward_rejected.shape == (5,)
    assert output.losses.requires_grad
    assert not output.reward_chosen.requires_grad and not output.reward_rejected.requires_grad
    assert output.losses.dtype == torch.float64


def test_the_gradient_is_that_of_finite_differences(loss, numbers, batch):
    if loss.whole_batch and loss.kind in ("kto_pair", "bco_pair"):
        pytest.skip("its point of reference is held fixed in the gradient on purpose")
    pairs = batch(numbers(4, seed=3))

    def total(chosen, rejected):
        return loss(dataclasses.replace(pairs, chosen=chosen, rejected=rejected)).losses.sum()

    assert torch.autograd.gradcheck(total, (pairs.chosen, pairs.rejected), atol=1e-6)


@pytest.mark.parametrize("delta", [-1e4, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_losses_and_gradients_stay_finite_for_huge_log_ratios(loss, numbers, batch, delta, dtype):
    pairs = batch(numbers(4))
    tensors = {f.name: getattr(pairs, f.name).detach().to(dtype) for f in dataclasses.fields(pairs)}
    tensors["chosen"] = (tensors["chosen"] + min(delta, 0.0)).clamp(max=0).requires_grad_()
    tensors["rejected"] = (tensors["rejected"] - max(delta, 0.0)).clamp(max=0).requires_grad_()
    pairs = type(pairs)(**tensors)
    losses = loss(pairs).losses
    losses.sum().backward()
    assert losses.isfinite().all()
    assert pairs.chosen.grad is not None and pairs.chosen.grad.isfinite().all()
    assert pairs.rejected.grad is None or pairs.rejected.grad.isfinite().all()


@pytest.mark.parametrize("field", ["chosen", "rejected", "ref_chosen", "score_chosen"])
def test_a_missing_number_that_a_loss_reads_is_never_hidden(loss, numbers, batch, field):
    arrays = numbers(4)
    clean = loss(batch(arrays)).losses
    arrays[field] = arrays[field].copy()
    arrays[field][1] = arrays[field][1] - 0.5
    reads_it = not torch.equal(loss(batch(arrays)).losses, clean)
    arrays[field][1] = float("nan")
    losses = loss(batch(arrays)).losses
    assert bool(losses.isnan().any()) == reads_it
    if not loss.whole_batch:
        assert not losses[[0, 2, 3]].isnan().any()


def test_a_pairs_loss_depends_on_other_pairs_only_where_it_says_so(loss, numbers, batch):
    arrays = numbers(12)
    parts = [{name: array[part] for name, array in arrays.items()} for part in (slice(6), slice(6, 12))]
    apart = torch.cat([loss(batch(part)).losses for part in parts])
    assert torch.allclose(loss(batch(arrays)).losses, apart) == (not loss.whole_batch)


def test_the_order_of_the_pairs_does_not_change_the_mean(loss, numbers, batch):
    arrays = numbers(6)
    turned = {name: array[::-1].copy() for name, array in arrays.items()}
    torch.testing.assert_close(loss(batch(turned)).losses.mean(), loss(batch(arrays)).losses.mean())


def without(arrays, *words):
    return {name: array for name, array in arrays.items() if not any(word in name for word in words)}


def test_a_loss_that_needs_scores_names_one_that_does_not(loss, numbers, batch):
    unscored = batch(without(numbers(3), "score", "distance"))
    if loss.needs_scores:
        with pytest.raises(MissingScores, match="use a loss that needs none: dpo"):
            loss(unscored)
    else:
        assert loss(unscored).losses.isfinite().all()


def test_a_loss_that_needs_a_reference_names_one_that_does_not(loss, numbers, batch):
    unreferenced = batch(without(numbers(3), "ref_"))
    if loss.needs_reference:
        with pytest.raises(SettingsError, match="use a loss without one: simpo"):
            loss(unreferenced)
    else:
        assert loss(unreferenced).losses.isfinite().all()


# Those that aim at a finite difference, those that ignore or sort it, and discopop, which has a dip by design.
NOT_MONOTONE = {"ipo", "sppo_hard", "rpo", "exo_pair", "sft", "aot", "aot_unpaired", "discopop"}


@pytest.mark.parametrize("kind", sorted(SHIPPED.keys() - NOT_MONOTONE))
def test_a_likelier_rejected_completion_never_lowers_the_loss(kind, numbers, batch):
    pairs = batch(numbers(8))
    SHIPPED[kind](pairs).losses.sum().backward()
    assert (pairs.rejected.grad >= 0).all()
