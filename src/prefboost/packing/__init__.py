"""Sequences that share beginnings as one flat stream, and log-probs from it. Needs torch."""

from prefboost.packing.logps import compute_end_states, compute_packed_logps, enable_packing
from prefboost.packing.stream import Packed, measure_stream, pack
from prefboost.packing.support import Support, evaluation_mode, measure_difference, probe_support

__all__ = [
    "Packed",
    "Support",
    "evaluation_mode",
    "measure_difference",
    "enable_packing",
    "pack",
    "compute_end_states",
    "compute_packed_logps",
    "measure_stream",
    "probe_support",
]
