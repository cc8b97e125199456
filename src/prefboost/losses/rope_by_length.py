"""Rotary frequencies that depend on a sequence's length (LongRoPE, dynamic NTK), for batches of several lengths.

transformers chooses one set of frequencies for everything in a forward, by the largest position in it: with LongRoPE
(Phi 3 at 128k, 3.5, 4-mini) every sequence gets the long set as soon as one is longer than the model's first context.
A row's log-prob then depends on its neighbours. Here every sequence gets the frequencies that it has alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "apply_rope_groups",
    "find_lowest_switch",
    "group_by_frequencies",
    "group_rows",
    "lower_switch",
    "mask_groups",
    "name_frequencies",
]

RopeGroup = tuple[int, "Tensor | None"]
"""A length, and a mask of its tokens [B or 1, T or 1]; None: all tokens."""

_DEPENDENT = ("longrope", "dynamic")
_SWITCH = "original_max_position_embeddings"


def group_by_frequencies(model: Any, lengths: Sequence[int]) -> list[int] | None:
    """Return for each sequence the length that stands for its frequencies; None where they do not depend on length.

    Args:
        model: of transformers, not wrapped.
        lengths: tokens of each sequence.

    Returns:
        equal numbers for sequences that are computed with the same frequencies: the longest of them for LongRoPE's two
        sets, and the length itself beyond the first context for dynamic NTK, whose frequencies change with every token.
    """
    switches = _list_switches(model)
    if not switches:
        return None
    keys = [
        tuple(0 if length <= at else length if kind == "dynamic" else 1 for kind, at in switches) for length in lengths
    ]
    longest: dict[tuple[int, ...], int] = {}
    for key, length in zip(keys, lengths, strict=True):
        longest[key] = max(length, longest.get(key, 0))
    return [longest[key] for key in keys]


def mask_groups(numbers: Tensor) -> list[RopeGroup]:
    """Return one group per number that occurs in a tensor of lengths [B or 1, T or 1]."""
    lengths = sorted({int(length) for row in numbers.tolist() for length in row})
    return [(lengths[0], None)] if len(lengths) == 1 else [(length, numbers == length) for length in lengths]


def group_rows(model: Any, attention_mask: Tensor) -> list[RopeGroup]:
    """Return the groups of padded rows; none where frequencies depend on no length.

    Args:
        model: of transformers, not wrapped.
        attention_mask: [B, L], 1 on real tokens, padding on the right.
    """
    if group_by_frequencies(model, ()) is None:
        return []
    numbers = group_by_frequencies(model, attention_mask.sum(1).tolist())
    assert numbers is not None
    return mask_groups(attention_mask.new_tensor(numbers)[:, None])


def name_frequencies(model: Any) -> str:
    """Return what to add to the key of a stored value: of these models, earlier values depended on other rows."""
    return "" if group_by_frequencies(model, ()) is None else "/rope-by-length"


@contextmanager
def apply_rope_groups(model: Any, groups: Sequence[RopeGroup]) -> Iterator[None]:
    """Compute each group with its own frequencies while the block runs; without groups nothing changes."""
    modules = _find_rotary_modules(model) if groups else []
    for module in modules:
        if not hasattr(module, "_rope_groups"):
            module.forward = _wrap_forward(module, module.forward)
        module._rope_groups = tuple(groups)
    try:
        yield
    finally:
        for module in modules:
            module._rope_groups = ()


def find_lowest_switch(model: Any) -> int | None:
    """Return the length up to which LongRoPE takes the short set of frequencies; None for other models."""
    return min((at for kind, at in _list_switches(model) if kind == "longrope"), default=None)


@contextmanager
def lower_switch(model: Any, length: int) -> Iterator[None]:
    """Make LongRoPE switch at another length while the block runs, so that short sequences lie on both sides."""
    places: list[Any] = []
    for module in _find_rotary_modules(model):
        rope = [parameters for parameters, _ in _list_parameters(module) if parameters["rope_type"] == "longrope"]
        # A configuration's field overrides the rope parameters, so that both are set.
        places += [module.config, *rope] if rope and hasattr(module.config, _SWITCH) else rope
    before = [int(place[_SWITCH] if isinstance(place, dict) else getattr(place, _SWITCH)) for place in places]
    for place in places:
        _set_switch(place, length)
    _drop_long_frequencies(model)
    try:
        yield
    finally:
        for place, at in reversed(list(zip(places, before, strict=True))):
            _set_switch(place, at)
        _drop_long_frequencies(model)


def _set_switch(place: Any, length: int) -> None:
    if isinstance(place, dict):
        place[_SWITCH] = length
    else:
        setattr(place, _SWITCH, length)


def _drop_long_frequencies(model: Any) -> None:
    """Drop the long set of frequencies that a module has stored: it belongs to another switch."""
    for module in _find_rotary_modules(model):
        for _, prefix in _list_parameters(module):
            if hasattr(module, f"{prefix}long_inv_freq"):
                delattr(module, f"{prefix}long_inv_freq")


def _find_rotary_modules(model: Any) -> list[Any]:
    """Find rotary modules whose frequencies depend on the length."""
    return [module for module in model.modules() if hasattr(module, "rope_type") and _list_parameters(module)]


def _list_parameters(module: Any) -> list[tuple[dict[str, Any], str]]:
    """List rope parameters of length-dependent kinds, one per kind of layer, with the prefix of their buffers."""
    kinds = module.rope_type
    parameters = getattr(getattr(module, "config", None), "rope_parameters", None) or {}
    if not isinstance(kinds, dict):
        return [(parameters, "")] if kinds in _DEPENDENT else []
    return [(parameters[layer], f"{layer}_") for layer, kind in kinds.items() if kind in _DEPENDENT]


def _list_switches(model: Any) -> list[tuple[str, int]]:
    """List kind and length beyond which frequencies change, of all rotary modules; each once."""
    switches = []
    for module in _find_rotary_modules(model):
        for parameters, _ in _list_parameters(module):
            kind = str(parameters["rope_type"])
            at = parameters[_SWITCH] if kind == "longrope" else module.original_max_seq_len
            switches.append((kind, int(at)))
    return sorted(set(switches))


def _wrap_forward(module: Any, original: Callable[..., Any]) -> Callable[..., Any]:
    import torch

    @wraps(original)
    def forward(x: Tensor, position_ids: Tensor, **kwargs: Any) -> Any:
        if not module._rope_groups:
            return original(x, position_ids, **kwargs)
        merged: list[Tensor] = []
        for length, where in module._rope_groups:
            # Dynamic frequencies go back to those of the first context: they depend on what was computed before.
            for parameters, prefix in _list_parameters(module):
                if parameters["rope_type"] == "dynamic":
                    inv_freq = getattr(module, f"{prefix}inv_freq")
                    first = getattr(module, f"{prefix}original_inv_freq").to(inv_freq.device)
                    module.register_buffer(f"{prefix}inv_freq", first.clone(), persistent=False)
                    setattr(module, f"{prefix}max_seq_len_cached", module.original_max_seq_len)
            # Frequencies are chosen by the largest position: the last position of this length is put behind all others.
            # Positions beyond it belong to padding or to other groups.
            last = position_ids.new_full((len(position_ids), 1), length - 1)
            positions = torch.cat([position_ids.clamp(max=length - 1), last], dim=1)
            parts = [part[:, :-1] for part in original(x, positions, **kwargs)]
            if where is not None and merged:
                parts = [torch.where(where[..., None], new, old) for new, old in zip(parts, merged, strict=True)]
            merged = parts
        return tuple(merged)

    return forward
