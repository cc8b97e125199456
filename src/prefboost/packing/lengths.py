"""Streams for models whose rotary frequencies depend on a sequence's length: sequences of other frequencies apart."""

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
"""Name, in ``Packed.cache``, of the stream that is computed in another's stead, and its groups."""


def part_by_length(model: Any, packed: Packed) -> tuple[Packed, list[RopeGroup]]:
    """Return a stream in which no token has two sets of rotary frequencies, and which set each token has.

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
    if len(set(numbers)) == 1:
        return packed, [(numbers[0], None)]
    if _PARTED not in packed.cache:
        packed.cache[_PARTED] = _parted(packed, numbers)
    found: tuple[Packed, list[RopeGroup]] = packed.cache[_PARTED]
    return found


def _parted(packed: Packed, numbers: list[int]) -> tuple[Packed, list[RopeGroup]]:
    rows = _rows(packed)
    tokens = packed.input_ids.cpu().numpy()
    targets = packed.targets.cpu()[packed.item.cpu()].numpy()
    bounds = np.bincount(packed.owner.cpu().numpy(), minlength=packed.sequences).cumsum()
    completions: list[Any] = np.split(targets, bounds[:-1])
    prompts: list[Any] = [
        tokens[own][: len(own) - max(0, len(completion) - 1)] for own, completion in zip(rows, completions, strict=True)
    ]
    parted = pack(prompts, completions, apart=numbers)
    marks = torch.zeros(parted.tokens, dtype=torch.long)
    for own, number in zip(_rows(parted), numbers, strict=True):
        marks[torch.from_numpy(own)] = number
    device = packed.input_ids.device
    calls = {name: packed.cache[name] for name in ("calls",) if name in packed.cache}  # who probes counts them
    return replace(parted.to(device), cache=calls), mask_groups(marks.to(device)[None])


def _rows(packed: Packed) -> list[TokenIds]:
    """Rows of the stream of each sequence, found from its last one."""
    starts = [node.start for node in packed.nodes]
    found = []
    for end in packed.ends.tolist():
        node = packed.nodes[bisect_right(starts, end) - 1]
        before = [np.arange(packed.nodes[at].start, packed.nodes[at].end) for at in node.ancestors]
        found.append(np.concatenate([*before, np.arange(node.start, end + 1)]))
    return found
