from __future__ import annotations

import hashlib

import pytest

from prefboost.evaluation.arena_hard.prompts import CREATIVE, HARD, QUESTION

# lmarena/arena-hard-auto at 196f6b826783b3da7310e361a805fa36f0be83f3: JUDGE_SETTINGS of utils/judge_utils.py, and
# prompt_template of config/arena-hard-v0.1.yaml and config/arena-hard-v2.0.yaml.


@pytest.mark.parametrize(
    ("text", "published"), [(HARD, "03f68010febd7a64"), (CREATIVE, "171489efbca7f19f"), (QUESTION, "80fb20ab2eaae6d3")]
)
def test_wording_is_the_published_one_to_the_byte(text, published):
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == published
