from __future__ import annotations

import hashlib

import pytest

from prefboost.evaluation.arena_hard_prompts import CREATIVE, HARD, QUESTION


@pytest.mark.parametrize(
    ("text", "published"), [(HARD, "03f68010febd7a64"), (CREATIVE, "171489efbca7f19f"), (QUESTION, "80fb20ab2eaae6d3")]
)
def test_wording_is_the_published_one_to_the_byte(text, published):
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == published
