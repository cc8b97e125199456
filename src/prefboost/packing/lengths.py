"""Streams for models whose rotary frequencies depend on length: only sequences of equal frequencies share tokens."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from prefboost.losses.rope_by_length import RopeGroup, group_by_frequencies, mask_groups
from prefboost.packing.stream import Packed, pack
from prefboost.packing.trie import TokenIds

__all__ = ["part_by_length"]

_PARTED = "parted by length"
"""Key of ``Packed.cache``: the stream that is computed instead of this one, and its groups."""


def part_by_length(model: Any, packed: Packed) -> tuple[Packed, list[RopeGroup]]:
    """Build a stream in which no token has two sets of rotary frequencies, and say which set each token has.

    Keys are rotated by their own sequence's frequencies, so a beginning can be shared only by sequences of one set.

    Args:
        model: not wrapped.
        packed: S sequences, on the model's device.

    Returns:
        the same stream where frequencies do not depend on length (no groups then) or all sequences have one set; else
        the same sequences with less shared; and groups for `prefboost.losses.rope_by_length.apply_rope_groups`.
    """
    numbers = group_by_frequencies(model, packed.lengths)
    if numbers is None:
        return packed, []
    # One set of frequencies for all: the stream stays as it is, and its tokens all belong to one group.
    if len(set(numbers)) == 1:
        return packed, [(numbers[0], None)]
    if _PARTED not in packed.cache:
        # Prompts and completions are recovered from the stream, and packed so that only equal numbers share.
        rows = _find_rows(packed)
        tokens = packed.input_ids.cpu().numpy()
        targets = packed.targets.cpu()[packed.item.cpu()].numpy()
        bounds = np.bincount(packed.owner.cpu().numpy(), minlength=packed.sequences).cumsum()
        completions: list[Any] = np.split(targets, bounds[:-1])
        # A stream holds prompt + completion without its last token, which predicts nothing.
        prompts: list[Any] = [
            tokens[at][: len(at) - max(0, len(completion) - 1)]
            for at, completion in zip(rows, completions, strict=True)
        ]
        stream = pack(prompts, completions, groups=numbers)
        # Every token of it belongs to sequences of one group, so that marking it twice writes the same number.
        marks = torch.zeros(stream.tokens, dtype=torch.long)
        for at, number in zip(_find_rows(stream), numbers, strict=True):
            marks[torch.from_numpy(at)] = number
        device = packed.input_ids.device
        # `probe_support` counts calls in the cache of the stream that it handed over.
        calls = {name: packed.cache[name] for name in ("calls",) if name in packed.cache}
        packed.cache[_PARTED] = replace(stream.to(device), cache=calls), mask_groups(marks.to(device)[None])
    parted: tuple[Packed, list[RopeGroup]] = packed.cache[_PARTED]
    return parted


def _find_rows(packed: Packed) -> list[TokenIds]:
    """Find the rows of the stream that hold each sequence: its last row's node, back to the root."""
    starts = [node.start for node in packed.nodes]
    rows = []
    for end in packed.ends.tolist():
        node = packed.nodes[bisect_right(starts, end) - 1]
        before = [np.arange(packed.nodes[at].start, packed.nodes[at].end) for at in node.ancestors]
        rows.append(np.concatenate([*before, np.arange(node.start, end + 1)]))
    return rows
