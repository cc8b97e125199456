"""How many tokens texts have, for limits in tokens."""

from __future__ import annotations

from typing import Any

from prefboost.preferences.select import CountTokens, Select

__all__ = ["counter_of", "token_counter"]


def counter_of(tokenizer: Any) -> CountTokens:
    """Counts by a loaded tokenizer: the texts alone, without the marks that a chat template puts around them."""
    return lambda texts: [len(ids) for ids in tokenizer(list(texts), add_special_tokens=False)["input_ids"]]


def token_counter(select: Select | None, tokenizer: str | None) -> CountTokens | None:
    """Counts by the tokenizer of a model; it is loaded only where a limit is in tokens and a model is named.

    Raises:
        ModelError: the tokenizer cannot be loaded.
    """
    if select is None or not select.counts_tokens or tokenizer is None:
        return None
    from prefboost.engines.weights import load_tokenizer

    return counter_of(load_tokenizer(tokenizer))
