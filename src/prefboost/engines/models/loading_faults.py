"""Errors of loading a model: what transformers raises, with the remedy that fits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefboost.engines.models.packaged import model_folder
from prefboost.errors import ModelError, PrefboostError, SettingsError

__all__ = ["explain_loading", "refuse_architecture"]

_USUAL = "give a folder with config.json and safetensors weights, a hub id you may read, or package:NAME"

_DECODERS = "take a decoder-only model (GPT, Llama, Qwen ...)"

_ATTENTION = ("attn_implementation", "attention implementation", "flashattention", "flash_attn", "flex_attention")
"""Words in transformers' messages on attention; `kernels` is the library that attention by hub id comes from."""

_SEVERAL = ("vision_config", "audio_config", "image_token_id", "image_token_index")
"""Keys of configurations that only models of images or sounds have."""


@contextmanager
def explain_loading(name: str, *, what: str = "model", attention: str | None = None) -> Iterator[None]:
    """Turn whatever the libraries raise while a model, tokenizer or configuration is loaded into one error.

    Files of a model come from anywhere, so that they can make transformers, tokenizers and safetensors raise almost any
    exception. All of them mean that the model cannot be loaded.

    Args:
        name: of the model: a folder, a hub id, or ``package:NAME``.
        what: is loaded, for the message.
        attention: the attention implementation asked for.

    Raises:
        ModelError: the block raised something; names the damaged file, or what is wrong with the model.
        SettingsError: the attention implementation cannot be had.
    """
    try:
        yield
    except PrefboostError:
        raise
    except Exception as error:
        reason, remedy = _explain(name, error)
        wants_kernels = attention is not None and "/" in attention and "kernels" in str(error)
        if attention is not None and (wants_kernels or any(word in str(error).lower() for word in _ATTENTION)):
            raise SettingsError(
                f"attention {attention!r} cannot be used for {name!r}: {reason.partition('. ')[0]}",
                remedy="leave attention out for the model's default, or write sdpa or eager"
                + ("; flash attention needs a GPU and its package" if "flash" in attention else ""),
            ) from error
        raise ModelError(f"cannot load the {what} {name!r}: {reason}", remedy=remedy) from error


def refuse_architecture(name: str, config: Any, *, generates: bool) -> None:
    """Refuse by name what cannot be trained here; transformers would load half of it, or fail much later.

    Args:
        name: of the model.
        config: of transformers.
        generates: whether the model has to write text; otherwise it may be an encoder.

    Raises:
        ModelError: it is an encoder-decoder, or an encoder where text has to be written.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    kind = config.model_type
    if getattr(config, "is_encoder_decoder", False):
        raise ModelError(
            f"{name} is an encoder-decoder ({kind}): prompt and completion pass through different parts of it",
            remedy=_DECODERS,
        )
    # Encoders saved as decoders (is_decoder, XLM's causal) see no later tokens.
    decodes = getattr(config, "is_decoder", False) or getattr(config, "causal", False)
    if generates and kind in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not decodes:
        raise ModelError(
            f"{name} is an encoder ({kind}), which attends to later tokens, so it cannot generate text",
            remedy=_DECODERS,
        )


def _explain(name: str, error: Exception) -> tuple[str, str]:
    """Explain what is wrong, and what to do about it."""
    from transformers import PretrainedConfig

    # Looked for first: of a truncated file the libraries say anything from an end of file to a wrong header.
    damage = _damage(name)
    if damage:
        return damage, "copy or download the file again"
    if "Unrecognized configuration class" in str(error) or "does not recognize this architecture" in str(error):
        # Its config.json names a kind of model that is new, or no text model.
        try:
            config, _ = PretrainedConfig.get_config_dict(model_folder(name))
        except Exception:  # only the wording of an error depends on it
            config = {}
        kind = config.get("model_type", "unknown")
        # Their text part may well be supported, but the checkpoint's names of weights have a prefix that the text model
        # does not know.
        if any(key in config for key in _SEVERAL):
            return f"it is a model for images or sounds besides text ({kind})", (
                "take a text model of the same family, or save the language model inside it by itself with "
                "transformers: prefboost neither trains nor runs the other parts"
            )
        if config.get("is_encoder_decoder"):
            return f"it is an encoder-decoder ({kind})", _DECODERS
        return f"this version of transformers cannot load {kind} as what is needed here", (
            "take another model, or upgrade transformers; a model that brings its own code needs trust_remote_code"
        )
    if "ignore_mismatched_sizes" in str(error):
        return "its weights do not have the sizes that config.json states", "take both from the same checkpoint"
    if "size mismatch" in str(error):
        line = next(line.strip() for line in str(error).splitlines() if "size mismatch" in line)
        return line[:300], "take it together with the model that it was made for"
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return _first_line(error), "take a machine with more memory, or a smaller model"
    return _first_line(error), _USUAL


def _damage(name: str) -> str:
    """Describe the first damaged weights file of a folder; None where all are whole."""
    from safetensors import SafetensorError, safe_open

    try:
        folder = Path(model_folder(name))
    except PrefboostError:
        return ""
    for path in sorted(folder.glob("*.safetensors")) if folder.is_dir() else []:
        try:
            # Opening reads the header and compares the file's length with it; no tensor is read.
            with safe_open(path, framework="np"):
                pass
        except (SafetensorError, OSError) as error:
            return f"{path.name} is damaged ({path.stat().st_size:,} bytes): {_first_line(error)}"
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            return f"{index.name} is damaged"
        gone = sorted(shard for shard in shards if not (folder / str(shard)).exists())
        if gone:
            return f"{len(gone)} of its {len(shards)} weight files are missing, e.g. {gone[0]}"
    return ""


def _first_line(error: Exception) -> str:
    """Return the first line of the message, with the exception's name where it says little ('added_tokens')."""
    line = (str(error).strip().splitlines() or [""])[0][:300]
    return line if line and isinstance(error, OSError | ValueError | ImportError) else f"{type(error).__name__} {line}"
