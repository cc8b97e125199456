"""Low-rank adapters: those that a training puts on a model, and those that a model to train comes as."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefboost.engines.models.loading_faults import explain_loading, refuse_architecture
from prefboost.engines.models.packaged import model_folder
from prefboost.engines.models.weights import load_config
from prefboost.errors import ModelError, SettingsError
from prefboost.training.optimisation import Lora, Optimisation

__all__ = [
    "add_adapters",
    "adapter_base",
    "adapter_chain",
    "adapters_of",
    "base_config",
    "check_targets",
    "explain_targets",
    "merge_adapter",
    "tokenizer_home",
    "trial_adapters",
]

_CONFIG = "adapter_config.json"

_SHOWN = 12
"""Most layer names that an error lists."""


def adapter_base(name: str, revision: str | None = None) -> str | None:
    """Return the model that an adapter was trained on; None where ``name`` is no adapter.

    Args:
        name: a folder, a hub id, or ``package:NAME``.
        revision: branch, tag or commit of a hub id.

    Raises:
        ModelError: the adapter does not say what it was trained on.
    """
    from peft import PeftConfig
    from transformers.utils.peft_utils import find_adapter_config_file

    place = model_folder(name)
    with explain_loading(name, what="adapter"):
        if Path(place).is_dir():
            is_adapter = (Path(place) / _CONFIG).is_file()
        else:
            is_adapter = find_adapter_config_file(place, revision=revision or "main") is not None
        if not is_adapter:
            return None
        base: str | None = PeftConfig.from_pretrained(place, revision=revision).base_model_name_or_path
    if not base:
        raise ModelError(
            f"{name} is an adapter whose {_CONFIG} does not name its base model",
            remedy="write base_model_name_or_path into it, or merge it into its model and train that",
        )
    return base


def adapter_chain(name: str, revision: str | None = None) -> tuple[str, list[str]]:
    """Follow an adapter, which may stand on others, to its model; return the model and the adapters from the bottom up.

    Args:
        name: a folder, a hub id, or ``package:NAME``; one that is no adapter is the bottom itself.
        revision: branch, tag or commit of a hub id.

    Raises:
        ModelError: an adapter does not say what it was trained on, or says itself.
    """
    chain: list[str] = []
    base = adapter_base(name, revision)
    while base is not None:
        # A file edited by hand can name itself; following it would never end.
        if name in chain:
            raise ModelError(
                f"the adapter {name} names itself as its base model",
                remedy=f"correct base_model_name_or_path in its {_CONFIG}",
            )
        chain.insert(0, name)
        name, base = base, adapter_base(base)
    return name, chain


def base_config(settings: Optimisation, *, generates: bool) -> Any:
    """Load the configuration of the model that is trained; of an adapter, that of the model at its bottom.

    Args:
        settings: of the training.
        generates: whether the model has to write text; a reward model may be an encoder.

    Raises:
        ModelError: there is no such model, or its architecture cannot be trained here.
    """
    base, adapters = adapter_chain(settings.model, settings.revision)
    revision = None if adapters else settings.revision
    config = load_config(base, revision=revision, trust_remote_code=settings.trust_remote_code)
    refuse_architecture(base, config, generates=generates)
    return config


def merge_adapter(model: Any, name: str, revision: str | None = None) -> Any:
    """Add the update of an adapter to the weights of its base, so that training continues from there.

    Args:
        model: the base, as transformers loads it.
        name: of the adapter.
        revision: of a hub id.

    Returns:
        the merged model; its ``name_or_path`` is the adapter's, since new adapters stand on it.

    Raises:
        ModelError: the adapter does not fit the model, or is of a kind that is not part of any weight.
    """
    from peft import PeftConfig, PeftModel

    place = model_folder(name)
    with explain_loading(name, what="adapter"):
        config = PeftConfig.from_pretrained(place, revision=revision)
        if not hasattr(model, "prepare_inputs_for_generation") and config.task_type == "CAUSAL_LM":
            # A reward model has no text to generate, and peft would ask it for the methods of one that has.
            config.task_type = None  # the update of a language model, under the head of a reward model
        adapted = PeftModel.from_pretrained(model, place, config=config, revision=revision or "main")
    if not hasattr(adapted.base_model, "merge_and_unload"):
        kind = adapted.active_peft_config.peft_type
        raise ModelError(
            f"{name} is an adapter of the kind {getattr(kind, 'value', kind)}, which cannot be merged into weights",
            remedy="use a model, or a low-rank adapter (LORA)",
        )
    merged = adapted.merge_and_unload()
    # New adapters record what they stand on by this name: the adapter, whose update is in the weights now.
    merged.name_or_path = merged.config._name_or_path = place
    # Left in place, transformers would take the merged model for one with adapters, and save those alone.
    if getattr(merged, "peft_config", None) is not None:
        del merged.peft_config
    for parameter in merged.parameters():
        # Quantised weights are integers, which have no gradient.
        parameter.requires_grad_(parameter.is_floating_point())  # peft freezes what an adapter stands on
    return merged


def tokenizer_home(base: str, chain: Sequence[str]) -> str:
    """Return where the tokenizer of an adapter is: beside it, or with the model or adapter that it stands on.

    Args:
        base: the model at the bottom.
        chain: adapters on it (`adapter_chain`).
    """
    from transformers.utils import cached_file

    files = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json")
    # A missing file is an answer here, not an error.
    quiet = {
        f"_raise_exceptions_for_{reason}": False for reason in ("missing_entries", "connection_errors", "gated_repo")
    }
    for name in reversed(chain):
        place = model_folder(name)
        if Path(place).is_dir():
            has_tokenizer = any((Path(place) / file).is_file() for file in files)
        else:  # a hub repository, of which files in the cache count
            has_tokenizer = any(cached_file(place, file, **quiet) is not None for file in files)
        if has_tokenizer:
            return name
    return base


def adapters_of(settings: Optimisation, *, task: str = "CAUSAL_LM") -> Any:
    """Build peft's configuration of the adapters; ``settings.lora`` must be given.

    Args:
        settings: of the training.
        task: peft's name for what the model does; SEQ_CLS for reward models, whose head is then trained whole.
    """
    from peft import LoraConfig, TaskType

    lora = settings.lora
    assert lora is not None
    return LoraConfig(
        task_type=TaskType(task),
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.targets if isinstance(lora.targets, str) else list(lora.targets),
    )


def add_adapters(model: Any, settings: Optimisation, *, task: str, **options: Any) -> Any:
    """Put new adapters around the layers of a model.

    Args:
        model: of transformers.
        settings: of the training; ``lora`` must be given.
        task: see `adapters_of`.
        options: of peft's ``get_peft_model``.

    Raises:
        SettingsError: peft refuses ``lora.targets``.
    """
    from peft import get_peft_model

    with explain_targets(settings.lora):
        adapted = get_peft_model(model, adapters_of(settings, task=task), **options)
    # Recomputed blocks pass gradients on only if their input asks for one, and frozen embeddings do not.
    if settings.gradient_checkpointing:
        adapted.enable_input_require_grads()
    return adapted


@contextmanager
def trial_adapters(model: Any, settings: Optimisation, *, task: str) -> Iterator[Any]:
    """Put new adapters on a model while the block runs; afterwards it is as before, and no random number was drawn.

    Args:
        model: of transformers.
        settings: of the training; ``lora`` must be given.
        task: see `adapters_of`.

    Raises:
        SettingsError: peft refuses ``lora.targets``.
    """
    import torch
    from peft import get_peft_model

    # peft freezes the base; afterwards it has to be trainable again.
    trained = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    # Adapters are drawn at random: unforked, a rehearsal would change the weights that training begins with.
    with torch.random.fork_rng(), explain_targets(settings.lora):
        adapted = get_peft_model(model, adapters_of(settings, task=task))
    try:
        yield adapted
    finally:
        adapted.unload()
        if getattr(model, "peft_config", None) is not None:
            del model.peft_config
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(trained[name])


@contextmanager
def explain_targets(lora: Lora | None) -> Iterator[None]:
    """Turn what peft raises on the layers that shall get adapters into an error of the setting.

    Args:
        lora: the settings; None: nothing is turned.

    Raises:
        SettingsError: layers of their kind take no adapters.
    """
    try:
        yield
    except ValueError as error:
        # peft raises a plain ValueError; its message begins with "Target module" or "target module".
        if lora is None or "arget module" not in str(error):
            raise
        raise SettingsError(
            f"lora.targets {lora.targets!r}: {str(error).splitlines()[0][:200]}",
            remedy="write all-linear, or names of linear layers in a list",
        ) from error


def check_targets(model: Any, lora: Lora) -> list[str]:
    """Compare ``lora.targets`` with the layers of a model, by peft's own rules.

    Args:
        model: to be trained, without adapters.
        lora: names of layers (ends of their full names), or one regular expression.

    Returns:
        sentences on names that match no layer while others do: the same list is used for several architectures.

    Raises:
        SettingsError: no layer would get an adapter, or the expression is not one.
    """
    import torch
    from transformers.pytorch_utils import Conv1D

    if lora.targets == "all-linear":
        return []
    layers = [name for name, _ in model.named_modules() if name]
    linear_kinds = (torch.nn.Linear, Conv1D)  # GPT-2 calls its linear layers convolutions
    # Only the last part of a name: the rest counts layers, and would fill the message.
    linear = sorted(
        {name.rpartition(".")[2] for name, module in model.named_modules() if isinstance(module, linear_kinds)}
    )
    names = [lora.targets] if isinstance(lora.targets, str) else list(lora.targets)
    # A lone text is an expression for the whole name of a layer; items of a list end it.
    whole = isinstance(lora.targets, str)
    try:
        # peft itself is silent about names that match nothing, as long as others do.
        absent = [
            name
            for name in names
            if not any(re.fullmatch(name, layer) if whole else f".{layer}".endswith(f".{name}") for layer in layers)
        ]
    except re.error as error:
        raise SettingsError(
            f"lora.targets {lora.targets!r} is not a regular expression: {error}",
            remedy="write all-linear, or names in a list",
        ) from None
    if len(absent) == len(names):
        what = f"{', '.join(map(repr, absent))} matches no layer" if names else "is empty"
        raise SettingsError(
            f"lora.targets: {what}{_suggest_names(absent, linear)}",
            remedy=f"write all-linear, or names in a list, e.g. [{', '.join(linear[:_SHOWN])}]",
        )
    return [f"lora.targets: no layer is called {name!r}{_suggest_names([name], linear)}" for name in absent]


def _suggest_names(names: Sequence[str], candidates: Sequence[str]) -> str:
    near = [close for name in names for close in difflib.get_close_matches(name, candidates, 1)]
    return f"; did you mean {', '.join(near)}?" if near else ""
