"""Rotary frequencies that depend on a sequence's length (LongRoPE, dynamic NTK), for batches of several lengths.

transformers chooses one set of frequencies for everything in a forward, by the largest position in it: with LongRoPE
(Phi 3 at 128k, 3.5, 4-mini) every sequence gets the long set as soon as one is longer than the model's first context.
What a row's log-prob is then depends on its neighbours. Here every sequence gets the frequencies that it has alone.
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
"""A length, and where sequences of it stand (True), [B or 1, T or 1]; None: everywhere."""

_DEPENDENT = ("longrope", "dynamic")
_SWITCH = "original_max_position_embeddings"


def group_by_frequencies(model: Any, lengths: Sequence[int]) -> list[int] | None:
    """Return for each sequence the length that stands for its frequencies; None where they depend on no length.

    Args:
        model: of transformers, not wrapped.
        lengths: tokens of each sequence.

    Returns:
        equal numbers for sequences that are computed with the same frequencies: the longest of them for LongRoPE's two
        sets, and the length itself beyond the first context for dynamic NTK, whose frequencies change with every token.
    """
    switches = _switches(model)
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
    """Return a group for every number that occurs in a tensor of them [B or 1, T or 1]."""
    distinct = sorted({int(each) for row in numbers.tolist() for each in row})
    return [(distinct[0], None)] if len(distinct) == 1 else [(each, numbers == each) for each in distinct]


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
    """Compute each group with its own frequencies while the block runs; no groups: everything as transformers does."""
    modules = _modules(model) if groups else []
    for module in modules:
        if not hasattr(module, "_rope_groups"):
            module.forward = _by_group(module, module.forward)
        module._rope_groups = tuple(groups)
    try:
        yield
    finally:
        for module in modules:
            module._rope_groups = ()


def find_lowest_switch(model: Any) -> int | None:
    """Return the length up to which LongRoPE takes the short set of frequencies; None for other models."""
    return min((at for kind, at in _switches(model) if kind == "longrope"), default=None)


@contextmanager
def lower_switch(model: Any, length: int) -> Iterator[None]:
    """Let LongRoPE switch at another length while the block runs, so that short sequences stand on both sides."""
    places = [place for module in _modules(model) for place in _switch_places(module)]
    before = [_switch_at(place) for place in places]
    for place in places:
        _set_switch(place, length)
    _forget_long(model)
    try:
        yield
    finally:
        for place, at in reversed(list(zip(places, before, strict=True))):
            _set_switch(place, at)
        _forget_long(model)


def _switch_places(module: Any) -> list[Any]:
    """Where LongRoPE's switch is written: transformers copies a configuration's own field over its rope parameters."""
    rope = [parameters for parameters, _ in _parameters(module) if parameters["rope_type"] == "longrope"]
    return [module.config, *rope] if rope and hasattr(module.config, _SWITCH) else rope


def _switch_at(place: Any) -> int:
    return int(place[_SWITCH] if isinstance(place, dict) else getattr(place, _SWITCH))


def _set_switch(place: Any, length: int) -> None:
    if isinstance(place, dict):
        place[_SWITCH] = length
    else:
        setattr(place, _SWITCH, length)


def _forget_long(model: Any) -> None:
    """Drop the long set of frequencies that a module has stored: it was made for another switch."""
    for module in _modules(model):
        for _, prefix in _parameters(module):
            if hasattr(module, f"{prefix}long_inv_freq"):
                delattr(module, f"{prefix}long_inv_freq")


def _modules(model: Any) -> list[Any]:
    """Rotary modules whose frequencies depend on the length."""
    return [module for module in model.modules() if hasattr(module, "rope_type") and _parameters(module)]


def _parameters(module: Any) -> list[tuple[dict[str, Any], str]]:
    """Rope parameters of length-dependent kinds, one for each kind of layer, and the prefix of the module's buffers."""
    kinds = module.rope_type
    parameters = getattr(getattr(module, "config", None), "rope_parameters", None) or {}
    if not isinstance(kinds, dict):
        return [(parameters, "")] if kinds in _DEPENDENT else []
    return [(parameters[layer], f"{layer}_") for layer, kind in kinds.items() if kind in _DEPENDENT]


def _switches(model: Any) -> list[tuple[str, int]]:
    """Kind, and length beyond which frequencies change, of every rotary module; each once."""
    found = []
    for module in _modules(model):
        for parameters, _ in _parameters(module):
            kind = str(parameters["rope_type"])
            at = parameters[_SWITCH] if kind == "longrope" else module.original_max_seq_len
            found.append((kind, int(at)))
    return sorted(set(found))


def _by_group(module: Any, original: Callable[..., Any]) -> Callable[..., Any]:
    import torch

    @wraps(original)
    def forward(x: Tensor, position_ids: Tensor, **kwargs: Any) -> Any:
        if not module._rope_groups:
            return original(x, position_ids, **kwargs)
        merged: list[Tensor] = []
        for length, where in module._rope_groups:
            _forget(module)
            # Frequencies are chosen by the largest position: the last one of this length stands behind all others.
            # Positions beyond it belong to padding or to other groups.
            last = position_ids.new_full((len(position_ids), 1), length - 1)
            asked = torch.cat([position_ids.clamp(max=length - 1), last], dim=1)
            parts = [part[:, :-1] for part in original(x, asked, **kwargs)]
            if where is not None and merged:
                parts = [torch.where(where[..., None], new, old) for new, old in zip(parts, merged, strict=True)]
            merged = parts
        return tuple(merged)

    return forward


def _forget(module: Any) -> None:
    """Set dynamic frequencies back to those of the first context: they would depend on what was computed before."""
    for parameters, prefix in _parameters(module):
        if parameters["rope_type"] == "dynamic":
            inv_freq = getattr(module, f"{prefix}inv_freq")
            original = getattr(module, f"{prefix}original_inv_freq").to(inv_freq.device)
            module.register_buffer(f"{prefix}inv_freq", original.clone(), persistent=False)
            setattr(module, f"{prefix}max_seq_len_cached", module.original_max_seq_len)
