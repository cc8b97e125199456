"""What a layer wants of its attention."""

import pytest
import torch

from prefboost.packing.attention_kind import AttentionKind


@pytest.mark.parametrize(
    ("kind", "plain"),
    [
        (AttentionKind(), True),
        (AttentionKind(scale=0.5, window=3, chunk=4), True),
        (AttentionKind(softcap=30.0), False),
        (AttentionKind(sinks=torch.zeros(2)), False),
    ],
)
def test_only_capping_and_sinks_change_the_scores(kind: AttentionKind, plain: bool) -> None:
    assert kind.has_plain_scores is plain
