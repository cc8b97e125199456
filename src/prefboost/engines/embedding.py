"""Texts as vectors: the mean of a model's last hidden states, for measures of diversity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from prefboost.devices import choose_numbers
from prefboost.engines.packaged import model_folder
from prefboost.engines.weights import guarded, load_tokenizer, reason_for_float32

__all__ = ["embeddings"]

_BATCH = 16
_LONGEST = 512


def embeddings(model: str, texts: Sequence[str]) -> NDArray[np.float64]:
    """Vectors of unit length.

    Args:
        model: a folder, a hub id or ``package:NAME``: a sentence encoder, or any language model.
        texts: their first 512 tokens count.

    Returns:
        [T, d].

    Raises:
        ModelError: there is no such model.
    """
    import torch
    from transformers import AutoModel

    tokenizer = load_tokenizer(model)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    dtype = choose_numbers("auto", "cpu", exact=reason_for_float32(model)).name
    encoder = guarded(
        model, lambda: AutoModel.from_pretrained(model_folder(model), dtype=dtype, use_safetensors=True)
    ).eval()
    found = []
    for start in range(0, len(texts), _BATCH):
        some = list(texts[start : start + _BATCH])
        fed = tokenizer(
            some, return_tensors="pt", padding=True, padding_side="right", truncation=True, max_length=_LONGEST
        )
        fed = {name: fed[name] for name in ("input_ids", "attention_mask")}
        with torch.inference_mode():
            states = encoder(**fed).last_hidden_state.float()
        shown = fed["attention_mask"][..., None].to(states.dtype)
        means = (states * shown).sum(1) / shown.sum(1).clamp(min=1)
        found.append(torch.nn.functional.normalize(means, dim=1).double().numpy())
    vectors: NDArray[np.float64] = np.concatenate(found) if found else np.zeros((0, 1))
    return vectors
