"""Sequences that share beginnings as one flat stream, and log-probs from it. Needs torch."""

from prefboost.packing.logps import enable_packing, packed_ends, packed_logps
from prefboost.packing.stream import Packed, pack, stream_length
from prefboost.packing.support import Support, difference_of, support_of

__all__ = [
    "Packed",
    "Support",
    "difference_of",
    "enable_packing",
    "pack",
    "packed_ends",
    "packed_logps",
    "stream_length",
    "support_of",
]
