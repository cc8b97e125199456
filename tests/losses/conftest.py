"""Batches of pairs that every loss can be held against."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Arrays = dict[str, Any]


@pytest.fixture(scope="session")
def numbers() -> Callable[..., Arrays]:
    """Random numbers of B pairs as NumPy arrays, by the names of PairLogps."""
    import numpy

    def draw(pairs: int = 6, seed: int = 0) -> Arrays:
        rng = numpy.random.default_rng(seed)
        length_chosen, length_rejected = rng.integers(2, 9, pairs) * 1.0, rng.integers(2, 9, pairs) * 1.0
        ref_chosen = -length_chosen * rng.uniform(0.3, 2, pairs)
        ref_rejected = -length_rejected * rng.uniform(0.3, 2, pairs)
        score_chosen, score_rejected = rng.uniform(5.5, 10, pairs), rng.uniform(1, 5, pairs)
        goal = rng.uniform(8, 10, pairs)
        return {
            "chosen": ref_chosen * rng.uniform(0.2, 1.6, pairs),
            "rejected": ref_rejected * rng.uniform(0.2, 1.6, pairs),
            "length_chosen": length_chosen,
            "length_rejected": length_rejected,
            "ref_chosen": ref_chosen,
            "ref_rejected": ref_rejected,
            "score_chosen": score_chosen,
            "score_rejected": score_rejected,
            "goal": goal,
            "distance_chosen": abs(goal - score_chosen),
            "distance_rejected": abs(goal - score_rejected),
        }

    return draw


@pytest.fixture(scope="session")
def batch() -> Callable[[Arrays], Any]:
    """A PairLogps in double precision; the policy's log-probs are leaves that gather a gradient."""
    import torch

    from prefboost.losses import PairLogps

    def build(arrays: Arrays) -> PairLogps:
        tensors = {name: torch.tensor(array, dtype=torch.float64) for name, array in arrays.items()}
        for name in ("chosen", "rejected"):
            tensors[name].requires_grad_()
        return PairLogps(**tensors)

    return build
