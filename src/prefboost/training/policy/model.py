"""Loading what is trained, and what it is compared with."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from prefboost.devices.launch import read_local_rank
from prefboost.engines.models.loading_faults import explain_loading, refuse_architecture
from prefboost.engines.models.packaged import model_folder
from prefboost.engines.models.weights import load_config
from prefboost.errors import ModelError, SettingsError
from prefboost.losses.completion_logps import compute_balanced_logps, compute_logps
from prefboost.training.adapters import adapter_chain, merge_adapter, tokenizer_home
from prefboost.training.engine.liger import put_liger_kernels
from prefboost.training.policy.settings import Train
from prefboost.training.saving.generation_settings import set_aside_generation

__all__ = [
    "Policy",
    "add_completion_forward",
    "check_completion_forward",
    "load_model",
    "load_policy",
    "load_policy_tokenizer",
    "shares_weights",
    "template_text",
    "choose_training_device",
]


@dataclass(frozen=True)
class Policy:
    """A causal language model and its tokenizer, the chat template settled."""

    model: Any
    tokenizer: Any


def load_policy(settings: Train) -> Policy:
    """Load the model to train; its forward can score completions (`add_completion_forward`).

    Raises:
        ModelError: the model or its chat template cannot be loaded.
    """
    return Policy(load_model(settings, settings.model), load_policy_tokenizer(settings))


def load_policy_tokenizer(settings: Train) -> Any:
    """Load the tokenizer with the chat template that training uses.

    Raises:
        ModelError: it cannot be loaded.
    """
    from transformers import AutoTokenizer

    base, adapters = adapter_chain(settings.model, settings.revision)
    name = tokenizer_home(base, adapters)
    options: dict[str, Any] = {"trust_remote_code": settings.trust_remote_code}
    if name != base:  # transformers looks for a configuration, and adapters on the hub have none
        options["config"] = load_config(base, trust_remote_code=settings.trust_remote_code)
    with explain_loading(name):
        tokenizer = AutoTokenizer.from_pretrained(
            model_folder(name), revision=settings.revision if name == settings.model else None, **options
        )
    if settings.chat_template is not None:
        tokenizer.chat_template = template_text(settings.chat_template)
    # Any token will do: padded positions are masked in attention and in every loss.
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(settings: Train, name: str, *, local_only: bool = False) -> Any:
    """Load a model with the settings' number type and attention; its forward can score completions.

    Args:
        settings: of the training.
        name: hub id, folder, or package:NAME.
        local_only: download nothing.

    Raises:
        ModelError: it cannot be loaded.
    """
    from transformers import AutoModelForCausalLM

    options: dict[str, Any] = {
        "dtype": torch.bfloat16 if settings.precision == "pure_bf16" else torch.float32,
        "trust_remote_code": settings.trust_remote_code,
        "use_safetensors": True,  # pickled weights can run code
    }
    if local_only:
        options["local_files_only"] = True
    if settings.attention is not None:
        options["attn_implementation"] = settings.attention
    # The revision belongs to the trained model; a reference of another name has its own history.
    revision = settings.revision if name == settings.model else None
    start, adapters = adapter_chain(name, revision)
    weights_revision = None if adapters else revision
    config = load_config(start, revision=weights_revision, trust_remote_code=settings.trust_remote_code)
    refuse_architecture(start, config, generates=True)
    if settings.lora is not None and settings.lora.quantize and name == settings.model:
        options["quantization_config"] = _quantize_base(settings, start, adapters)
    with explain_loading(start, attention=settings.attention):
        model, report = AutoModelForCausalLM.from_pretrained(
            model_folder(start),
            revision=weights_revision or "main",
            output_loading_info=True,
            **options,
        )
    # transformers draws missing weights at random and warns; training would begin from noise.
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise ModelError(
            f"the checkpoint {start!r} lacks {len(missing)} weights of {type(model).__name__}, e.g. {missing[0]}: "
            "they would be initialised at random",
            remedy="use a complete checkpoint of a causal language model, of the architecture that config.json names",
        )
    for module in model.modules() if "quantization_config" in options else ():
        # bitsandbytes packs weights anew for CPUs in evaluation, and what reads them there passes no gradient on: after
        # the reference pass the layers below would learn nothing.
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    put_liger_kernels(model, settings, choose_training_device(os.environ).type)
    for adapter in adapters:
        model = merge_adapter(model, adapter, revision if adapter == name else None)
    # Before any checkpoint is written: transformers refuses to save some published settings.
    set_aside_generation(model)
    add_completion_forward(model)
    return model


def _quantize_base(settings: Train, start: str, adapters: Sequence[str]) -> Any:
    """Configure a base in 4 bits, as QLoRA does: NF4, its scales quantised too, computed in the training's type."""
    from transformers import BitsAndBytesConfig

    if adapters:
        raise SettingsError(
            f"lora.quantize: {adapters[-1]} is an adapter, and its update cannot be added to {start} in 4 bits exactly",
            remedy="merge it into its model first, or leave lora.quantize out",
        )
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32 if settings.precision == "fp32" else torch.bfloat16,
    )


def choose_training_device(environment: Mapping[str, str]) -> torch.device:
    """Choose the device on which this process trains: its own GPU where there are any, else the CPU.

    Args:
        environment: of the process; launchers say in ``LOCAL_RANK`` which GPU of the machine is its own.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", read_local_rank(environment))


def shares_weights(environment: Mapping[str, str]) -> bool:
    """Return whether the launcher was told that devices hold parts of the weights (FSDP, DeepSpeed)."""
    return any(environment.get(f"ACCELERATE_USE_{name}", "").lower() == "true" for name in ("FSDP", "DEEPSPEED"))


def add_completion_forward(model: Any) -> None:
    """Let ``model(input_ids=, attention_mask=, completion_mask=)`` return log-probs [S] of completions; with
    ``balance=True`` also the balance of a mixture's experts.

    The call goes through the model's own forward, so that wrappers (DDP, autocast, adapters) see it. Other calls
    reach the original forward.
    """
    # Bound to the instance, so that `type(model)` and its saving stay as they are.
    original = model.forward

    @wraps(type(model).forward)
    def forward(*args: Any, completion_mask: Tensor | None = None, balance: bool = False, **kwargs: Any) -> Any:
        if completion_mask is None:
            return original(*args, **kwargs)
        scored = compute_balanced_logps if balance else compute_logps
        return scored(model, kwargs["input_ids"], kwargs["attention_mask"], completion_mask)

    model.forward = forward


def check_completion_forward(model: Any, ids: list[int], tolerance: float = 1e-3) -> None:
    """Compare the log-prob of a few tokens with what the model's own logits say.

    Args:
        model: with `add_completion_forward`, not wrapped; not in training mode or without dropout.
        ids: tokens, at least 2; the first eight are used.
        tolerance: nats, in float32.

    Raises:
        ModelError: the architecture does something to its logits that we do not know, its log-probs are not finite, or
            depend on tokens that come later.
    """
    tokens = torch.tensor([ids[:8]], device=next(model.parameters()).device)
    with torch.inference_mode():
        ones = torch.ones_like(tokens)
        logits = model(input_ids=tokens, attention_mask=ones, use_cache=False).logits.float()
        expected = logits[:, :-1].log_softmax(-1).gather(-1, tokens[:, 1:, None]).sum()
        mask = ones.clone()
        mask[:, 0] = 0
        computed = model(input_ids=tokens, attention_mask=ones, completion_mask=mask).sum()
        # The last token is exchanged: in a causal model no earlier logit may notice.
        other = tokens.clone()
        other[:, -1] = tokens[:, 0]
        later = model(input_ids=other, attention_mask=ones, use_cache=False).logits.float()
    if not bool(expected.isfinite()):
        raise ModelError(
            f"{type(model).__name__} gives {float(expected)} as the log-prob of eight tokens, from finite weights",
            remedy="its activations overflow: write precision: fp32, or use another checkpoint",
        )
    # bfloat16 has 8 bits of precision, about three decimal digits fewer than the tolerance assumes.
    scale = 1.0 if next(model.parameters()).dtype == torch.float32 else 1000.0
    if not torch.allclose(later[:, :-1], logits[:, :-1], rtol=1e-3 * scale, atol=tolerance * scale):
        raise ModelError(
            f"{type(model).__name__} attends to later tokens, so it cannot generate text",
            remedy="use a decoder-only model (GPT, Llama, Qwen ...), not an encoder such as BERT",
        )
    if not torch.isclose(computed, expected, rtol=1e-3 * scale, atol=tolerance * scale):
        raise ModelError(
            f"{type(model).__name__} changes its logits in an unknown way: log-prob "
            f"{float(computed):.4f} by its body and head, {float(expected):.4f} by its own logits",
            remedy="report the architecture; its output layer needs a line in losses/completion_logps.py",
        )


def template_text(template: str) -> str:
    """Read a chat template that is given as Jinja text, or as the file that holds it.

    Raises:
        ModelError: it is neither.
    """
    # Paths hold neither braces nor line breaks, and every template has some.
    if "{" in template or "\n" in template:
        return template
    path = Path(template)
    if not path.is_file():
        raise ModelError(
            f"chat_template {template!r} is neither Jinja text nor a file", remedy="give the path of a .jinja file"
        )
    return path.read_text(encoding="utf-8")
