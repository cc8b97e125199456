"""FlexAttention against the backend that is written out, block masks against the paths of the trie."""

from __future__ import annotations

import pytest
import torch

from prefboost.packing import pack
from prefboost.packing.attention import BACKENDS, AttentionKind
from prefboost.packing.flex import MASK_BLOCK as BLOCK

COMMON = list(range(90))
LAYERS = [
    AttentionKind(),
    AttentionKind(scale=0.2),
    AttentionKind(window=30),
    AttentionKind(chunk=64),
    AttentionKind(softcap=2.0),
    AttentionKind(sinks=torch.linspace(-1, 1, 4)),
    AttentionKind(softcap=1.5, window=50, sinks=torch.zeros(4)),
]


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("kind", LAYERS)
def test_values_over_several_blocks(kind: AttentionKind) -> None:
    packed = pack([COMMON] * 3 + [COMMON[:40]], [[n] * length for n, length in enumerate((60, 5, 33, 21))])
    assert packed.tokens > BLOCK
    draw = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(1, heads, packed.tokens, 8, generator=draw) for heads in (4, 2, 2))
    result = BACKENDS["flex"](query, key, value, packed, kind)
    expected = BACKENDS["eager"](query, key, value, packed, kind)
    assert result.shape == (1, packed.tokens, 4, 8)
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)
