"""Loading a causal language model and its tokenizer for inference."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from prefboost.devices import NumberName, limit_threads, release_memory, resolve_device
from prefboost.engines.models.loading_faults import explain_loading
from prefboost.engines.models.packaged import model_folder
from prefboost.errors import ModelError

__all__ = [
    "context_of",
    "count_embedding_rows",
    "fingerprint_of_model",
    "load_quietly",
    "load_causal_lm",
    "load_config",
    "load_tokenizer",
    "name_weights",
    "move_to_device",
    "reason_for_float32",
]

_BLOCK = 1 << 20
_BLOCKS = 256
_BESIDE = ("*.py", "*.model", "*.tiktoken", "merges.txt", "vocab.txt")
"""Code of a checkpoint, and files of tokenizers that are not written as JSON."""
_OTHER_WEIGHTS = ("*.bin", "*.pt", "*.pth", "*.gguf")


def load_causal_lm(
    name: str, dtype: NumberName = "float32", *, revision: str | None = None, trust_remote_code: bool = False
) -> tuple[Any, Any]:
    """Load a model in evaluation mode, on the CPU, and its tokenizer.

    Args:
        name: a folder, a hub id, or ``package:NAME``.
        dtype: number type of the weights, e.g. from `prefboost.devices.choose_numbers`.
        revision: branch, tag or commit of a hub id.
        trust_remote_code: run code that the checkpoint brings.

    Raises:
        ModelError: there is no such model, or its weights are not safetensors (pickles can run code and are refused).
    """
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    # A command that measures one model after the other must not hold those before.
    release_memory()
    # Progress is the caller's.
    disable_progress_bar()
    tokenizer = load_tokenizer(name, revision=revision, trust_remote_code=trust_remote_code)
    model = load_quietly(
        name,
        lambda: AutoModelForCausalLM.from_pretrained(
            model_folder(name),
            dtype=dtype,
            revision=revision or "main",
            trust_remote_code=trust_remote_code,
            # Pickles can run code, so no setting lets them in.
            use_safetensors=True,
        ),
    )
    return model.eval(), tokenizer


def load_tokenizer(
    name: str, *, revision: str | None = None, trust_remote_code: bool = False, config: Any = None
) -> Any:
    """Load the tokenizer of a model; it pads on the left, as generation needs it.

    Args:
        name: a folder, a hub id, or ``package:NAME``.
        revision: branch, tag or commit of a hub id.
        trust_remote_code: run code that the checkpoint brings.
        config: configuration of the model, where none lies beside the tokenizer (adapters on the hub).

    Raises:
        ModelError: there is no such model, or it has no tokenizer.
    """
    from transformers import AutoTokenizer

    options: dict[str, Any] = {} if config is None else {"config": config}
    tokenizer = load_quietly(
        name,
        lambda: AutoTokenizer.from_pretrained(
            model_folder(name), revision=revision or "main", trust_remote_code=trust_remote_code, **options
        ),
    )
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        # Any token will do where masks hide padding, and many models bring none for it.
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def message_tokens(tokenizer: Any, messages: Sequence[Mapping[str, Any]]) -> int:
    """Count the tokens of a prompt: rendered by the chat template, or 4 per message where there is none.

    Args:
        tokenizer: loaded.
        messages: ending with a user turn.
    """
    if tokenizer.chat_template:
        # Templates write their own first token, so that the tokenizer may add none.
        text = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
        return len(tokenizer(text, add_special_tokens=False)["input_ids"])
    texts = [str(message["content"]) for message in messages]
    return sum(len(ids) + 4 for ids in tokenizer(texts, add_special_tokens=False)["input_ids"])


def load_config(name: str, *, revision: str | None = None, trust_remote_code: bool = False) -> Any:
    """Load the configuration of a model.

    Raises:
        ModelError: there is no such model.
    """
    from transformers import AutoConfig

    options: dict[str, Any] = {"revision": revision or "main", "trust_remote_code": trust_remote_code}
    return load_quietly(name, lambda: AutoConfig.from_pretrained(model_folder(name), **options))


def move_to_device(model: Any, device: str) -> Any:
    """Put the model on a device.

    Args:
        model: of transformers.
        device: cpu, cuda, cuda:1 ...; auto takes a GPU where there is one.

    Raises:
        ModelError: there is no such device, or the model does not fit on it.
    """
    target = resolve_device(device)
    # Torch counts the machine's cores, also where a control group grants two of sixty-four.
    if target == "cpu":
        limit_threads()
    try:
        return model.to(target)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(
            f"cannot put the model on device {device!r}: {str(error).splitlines()[0][:200]}",
            remedy="set device to auto or cpu",
        ) from error


def reason_for_float32(name: str, revision: str | None = None) -> str | None:
    """Say why a measurement needs float32: the checkpoint's weights do not fit into bfloat16. None where they do.

    Runs no code of the checkpoint. A configuration that names no number type counts as float32.

    Args:
        name: a folder, a hub id, or ``package:NAME``; a model that cannot be read is reported by whoever loads it.
        revision: branch, tag or commit of a hub id.
    """
    from transformers import PretrainedConfig

    try:
        config, _ = PretrainedConfig.get_config_dict(model_folder(name), revision=revision or "main")
    except (OSError, ValueError):
        config = {}
    # Older checkpoints say torch_dtype; models with several parts say it of the text model.
    parts = (config, config.get("text_config") or {})
    named = [part[key] for part in parts for key in ("dtype", "torch_dtype") if part.get(key)]
    stored = str(named[0]).removeprefix("torch.") if named else "float32"
    return None if stored == "bfloat16" else f"the checkpoint's weights are {stored}"


def context_of(config: Any) -> int | None:
    """Return the most tokens that a model can see; None where its configuration names no limit."""
    # Models with several parts keep the limit in the configuration of the text model.
    limit: int | None = getattr(config.get_text_config(), "max_position_embeddings", None)
    return limit


def count_embedding_rows(model: Any) -> int | None:
    """Count the rows of a model's embedding; None where the model does not show it (code of its own)."""
    try:
        embedding = model.get_input_embeddings()
        # The weight may be parted.
        return int(getattr(embedding, "num_embeddings", embedding.weight.shape[0]))
    except (NotImplementedError, AttributeError):
        return None


def fingerprint_of_model(name: str, commit: str | None = None) -> str:
    """Compute 16 hex digits that change with weights, tokenizer and code; return ``commit`` where the hub names one.

    Weights of other formats count where there are no safetensors. Chat templates in files of their own do not: what
    they render is part of whatever is computed with them.

    Of files over 256 MiB, 256 evenly spaced blocks of 1 MiB are read: training changes every tensor, so that other
    weights differ there, and a large model is not read twice.

    Args:
        name: a folder, a hub id, or ``package:NAME``.
        commit: the hub's commit of the loaded model, if any.
    """
    folder = Path(model_folder(name))
    # A hub id that was not resolved to a commit names itself: the weights are not here to be read.
    if not folder.is_dir():
        return commit or name
    paths = sorted(folder.glob("*.safetensors")) + sorted(folder.glob("*.json"))
    # Pickles beside safetensors are not loaded, so they are not part of what is computed.
    others = _BESIDE if any(path.suffix == ".safetensors" for path in paths) else (*_BESIDE, *_OTHER_WEIGHTS)
    paths += sorted(path for pattern in others for path in folder.glob(pattern))
    # The time of change is part of the cache's key alone: a copied folder is the same model.
    return _digest_of(tuple((path, path.stat().st_size, path.stat().st_mtime_ns) for path in paths))


def name_weights(name: str, revision: str | None = None, *, trust_remote_code: bool = False) -> str:
    """Return the fingerprint of a model in a folder, or the commit that a hub id stands for now: a branch moves.

    Args:
        name: a folder, a hub id, or ``package:NAME``.
        revision: branch, tag or commit of a hub id.
        trust_remote_code: run code that the checkpoint brings.

    Raises:
        ModelError: the hub's model cannot be read.
    """
    if Path(model_folder(name)).is_dir():
        return fingerprint_of_model(name)
    config = load_config(name, revision=revision, trust_remote_code=trust_remote_code)
    return fingerprint_of_model(name, getattr(config, "_commit_hash", None) or revision)


@functools.lru_cache(maxsize=64)
def _digest_of(files: tuple[tuple[Path, int, int], ...]) -> str:
    """Hash files, cached by path, size and time of change: a run asks for its start model's at every stage."""
    digest = hashlib.sha256()
    for path, size, _ in files:
        digest.update(f"{path.name} {size}".encode())
        # Reading all of a model of 16 GB takes longer than loading it, since loading maps the file.
        stride = max(_BLOCK, size // _BLOCKS)
        with path.open("rb") as stream:
            for start in range(0, size, stride):
                stream.seek(start)
                digest.update(stream.read(_BLOCK))
    return digest.hexdigest()[:16]


def load_quietly(name: str, load: Callable[[], Any]) -> Any:
    """Call ``load`` without progress bars and explain its errors.

    Args:
        name: of the model, for the message.
        load: calls transformers.

    Raises:
        ModelError: there is no such model, or it cannot be loaded.
    """
    from transformers.utils import logging

    enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with explain_loading(name):
            return load()
    finally:
        if enabled:
            logging.enable_progress_bar()
