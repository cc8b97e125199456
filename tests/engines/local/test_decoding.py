"""The decode loop and how tokens are picked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prefboost.engines.engine import Sampling
from prefboost.engines.local.decoding import decode, draws_for, pick_tokens

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def model() -> Any:
    from tests.training.conftest import build_model

    return build_model()


def tokens_of(model: Any, prompts: list[list[int]], sampling: Sampling, ends: set[int]) -> list[list[int]]:
    draws = np.stack([draws_for(sum(prompt), sampling.max_tokens) for prompt in prompts])
    found: list[list[int]] = [[] for _ in prompts]
    for step in decode(model, prompts, draws, sampling, ends):
        for row, token in step:
            found[row].append(token)
    return found


def test_draws_are_in_range_and_a_longer_row_begins_like_a_shorter() -> None:
    assert (draws_for(7, 100)[:10] == draws_for(7, 10)).all()
    assert ((draws_for(2**127, 1000) >= 0) & (draws_for(2**127, 1000) < 1)).all()


@given(st.integers(0, 2**32), st.floats(0.2, 3.0), st.floats(0.05, 1.0))
@settings(max_examples=50)
def test_only_tokens_of_the_nucleus_are_picked(seed: int, temperature: float, top_p: float) -> None:
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(rng.normal(size=(8, 40)) * 3)
    picked = pick_tokens(logits, torch.from_numpy(rng.random(8)), Sampling(temperature=temperature, top_p=top_p))
    probs = (logits.float() / temperature).softmax(-1)
    for row, token in enumerate(picked.tolist()):
        likelier = probs[row][probs[row] > probs[row, token]].sum()
        assert float(likelier) < top_p + 1e-6


def test_tokens_are_drawn_with_their_probability() -> None:
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]])).expand(20_000, -1)
    draws = torch.from_numpy(draws_for(1, 20_000))
    for top_p, expected in ((1.0, [0.5, 0.3, 0.15, 0.05]), (0.7, [0.625, 0.375, 0, 0])):
        picked = pick_tokens(logits, draws, Sampling(temperature=1.0, top_p=top_p))
        shares = picked.bincount(minlength=4) / len(picked)
        assert shares.tolist() == pytest.approx(expected, abs=0.015)


def test_a_nucleus_wider_than_the_first_look_is_sorted_in_full() -> None:
    logits = torch.zeros(200, 2000)
    picked = pick_tokens(logits, torch.from_numpy(draws_for(1, 200)), Sampling(temperature=1.0, top_p=0.9))
    assert int(picked.max()) > 1024


def test_temperature_0_takes_the_likeliest() -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0]])
    assert pick_tokens(logits, torch.tensor([0.99], dtype=torch.float64), Sampling(temperature=0)).tolist() == [1]


def test_a_row_does_not_depend_on_its_batch_and_rows_that_ended_leave_it(model: Any) -> None:
    sampling = Sampling(max_tokens=16, temperature=1.0, top_p=1.0)
    prompts = [[5, 6, 7, 8, 9, 10], [11], [12, 13, 14], [15, 16], [40] * 9]
    ends = set(range(0, 259, 9))
    together = tokens_of(model, prompts, sampling, ends)
    assert together == [tokens_of(model, [prompt], sampling, ends)[0] for prompt in prompts]
    assert len({len(row) for row in together}) > 1
    for row in together:
        assert not ends & set(row[:-1])
        assert len(row) == 16 or row[-1] in ends


def test_greedy_decoding_is_what_transformers_generates(model: Any) -> None:
    prompt = [5, 6, 7, 8]
    ours = tokens_of(model, [prompt], Sampling(max_tokens=10, temperature=0), {258})[0]
    theirs = model.generate(
        torch.tensor([prompt]), max_new_tokens=10, do_sample=False, eos_token_id=258, pad_token_id=0
    )
    assert ours == theirs[0, 4:].tolist()
