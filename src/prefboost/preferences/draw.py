"""Seeded draws that depend on nothing but a seed and ids: the same whatever the shard, batch or thread count."""

from __future__ import annotations

import polars as pl

__all__ = ["seeded_rank", "seeded_share"]

_MOST = 2**64 - 1


def seeded_rank(seed: int, *columns: str) -> pl.Expr:
    """A 64-bit number per row from a hash of the columns: sort by it for a uniformly random order.

    Args:
        seed: another seed gives another order.
        columns: ids that name the row.
    """
    return pl.struct(columns).hash(seed)


def seeded_share(seed: int, *columns: str) -> pl.Expr:
    """A number in 0..1 per row, uniform over ids: ``seeded_share(...) < 0.5`` keeps half of them."""
    return seeded_rank(seed, *columns).cast(pl.Float64) / _MOST
