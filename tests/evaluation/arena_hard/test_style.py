from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.evaluation.arena_hard.style import (
    Style,
    count_style,
    density_differences,
    ratio_differences,
)

styles = st.builds(Style, *[st.integers(0, 50)] * 4)


def test_markdown_is_counted_outside_of_code():
    text = "# Top\n## Two\n1. one\n- two\n  * three\n**bold** and __strong__\n```\n# no\n- no\n**no**\n```\nend"
    assert count_style(text, length=7) == Style(7, headers=2, lists=3, bold=2)


def test_length_without_a_tokenizer_is_in_words_and_signs():
    assert count_style("Well, it's 3.5!").length == 9


def test_features_are_the_published_formulas():
    one, other = [Style(99, 10, 0, 5)], [Style(49, 0, 5, 5)]
    dense = density_differences(one, other)
    assert dense["length"] == pytest.approx([50 / 148])
    assert dense["headers"] == pytest.approx([0.1 / 1.1])
    assert dense["lists"] == pytest.approx([-0.1 / 1.1])
    assert dense["bold"] == pytest.approx([(0.05 - 0.1) / 1.15])
    ratio = ratio_differences(one, other)
    assert [float(ratio[name][0]) for name in ratio] == pytest.approx([50 / 149, 10 / 11, -5 / 6, 0])


@given(st.lists(st.tuples(styles, styles), min_size=1, max_size=5))
def test_features_change_sign_where_the_answers_are_swapped_and_lie_in_one(pairs):
    one, other = zip(*pairs, strict=True)
    for differences in (density_differences, ratio_differences):
        ahead, back = differences(one, other), differences(other, one)
        for name in ahead:
            assert np.allclose(ahead[name], -back[name])
            assert np.abs(ahead[name]).max() <= 1
