"""Seeded draws that depend on a seed and texts only: the same for any shard, batch, thread count and release.

Polars' own hash is no use here: it promises the same numbers within one version of Polars only, and a recipe must draw
the same pairs next year.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

__all__ = ["draw_rank", "draw_share"]

_MOST = 2**64 - 1
_BYTES_AT_ONCE = 1 << 22  # an array of 8 bytes per byte of text takes 32 MB then
_Numbers = NDArray[np.uint64]


def draw_rank(seed: int, *columns: str) -> pl.Expr:
    """Hash the columns into a 64-bit number per row: sorted by it, rows are in a uniformly random order.

    Args:
        seed: another seed gives another order.
        columns: texts (ids) that name the row.
    """

    def hash_texts(texts: pl.Series) -> pl.Series:
        parts, start, bound = [], 0, np.cumsum(texts.str.len_bytes().fill_null(0).to_numpy().astype(np.int64))
        while start < texts.len():
            before = int(bound[start - 1]) if start else 0
            stop = max(start + 1, int(np.searchsorted(bound, before + _BYTES_AT_ONCE, side="right")))
            parts.append(_hash_piece(texts[start:stop], seed))
            start = stop
        return pl.Series(texts.name, np.concatenate(parts) if parts else np.empty(0, np.uint64), dtype=pl.UInt64)

    joined = pl.concat_str([pl.col(name).cast(pl.String) for name in columns], separator="\x1f")
    return joined.map_batches(hash_texts, return_dtype=pl.UInt64, is_elementwise=True)


def draw_share(seed: int, *columns: str) -> pl.Expr:
    """Draw a number in 0..1 per row, uniform over ids: ``draw_share(...) < 0.5`` keeps half of them."""
    return draw_rank(seed, *columns).cast(pl.Float64) / _MOST


def _hash_piece(texts: pl.Series, seed: int) -> _Numbers:
    """Sum a random number for (byte, position) over a text's bytes, and scramble the sum with the seed."""
    arrow = texts.fill_null("").rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
    _, bounds, content = arrow.buffers()
    offsets = np.frombuffer(bounds, np.int64)[arrow.offset : arrow.offset + len(arrow) + 1]
    lengths, whole = np.diff(offsets), slice(int(offsets[0]), int(offsets[-1]))
    place = np.arange(offsets[0], offsets[-1]) - np.repeat(offsets[:-1], lengths)
    keys = (place << 8) + np.frombuffer(content, np.uint8)[whole] if place.size else place
    # key = 256 place + byte. Most are in the table; a lookup is cheaper than scrambling anew.
    mixed = _FIRST.take(keys, mode="clip")
    late = np.flatnonzero(keys >= _FIRST.size)
    mixed[late] = _scramble(keys[late].astype(np.uint64))
    # Sums over each text are differences of running sums; they wrap modulo 2**64, so a difference is exact.
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(mixed)])
    ends = offsets - offsets[0]
    salt = _scramble(np.array([seed % 2**64], np.uint64))
    scrambled: _Numbers = _scramble(sums[ends[1:]] - sums[ends[:-1]] + lengths.astype(np.uint64) + salt)
    return scrambled


def _scramble(numbers: _Numbers) -> _Numbers:
    """Apply the output function of SplitMix64 (Steele, Lea and Flood 2014), modulo 2**64."""
    mixed = numbers + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


_FIRST = _scramble(np.arange(256 * 64, dtype=np.uint64))
"""The numbers of all bytes at the first 64 places, where most ids end."""
