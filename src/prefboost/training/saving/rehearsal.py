"""The end of a training, done once before its first step: what cannot be saved or loaded is found out in time.

A run of days must not end with a tokenizer that refuses to be written or a disk that is full. So the model is saved as
it will be saved, with all its weights, into the run folder; read back; its chat template is asked; and removed again.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefboost.chat import goal_text, place_goal
from prefboost.engines.models.loading_faults import explain_loading
from prefboost.errors import ModelError, Place, PrefboostError
from prefboost.training.adapters import trial_adapters
from prefboost.training.claim import is_main_process
from prefboost.training.optimisation import Optimisation, count_state_bytes
from prefboost.training.preflight import TokenRange, check_fit
from prefboost.training.saving.checkpoint import Provenance
from prefboost.training.saving.disk import check_space, free_memory, is_disk_fault, size_of

__all__ = ["SavingTrial", "checkpoint_bytes", "prove_end", "rehearse"]

FOLDER = "rehearsal"
"""The name, in a run folder, under which the end is rehearsed."""

_LOADED = 2 << 30
"""Bytes of weights that are always read back whole."""

_PATIENCE_S = 60.0
"""Most seconds that writing may have taken for larger weights to be read back whole: reading takes about as long."""

_COPIES = 1.5
"""Free memory that reading back asks for, in sizes of the weights."""

_QUESTION = [{"role": "user", "content": "Hello"}]


@dataclass(frozen=True)
class SavingTrial:
    """Everything that saving and loading a trained model needs.

    Args:
        tokenizer: of the model, with its own template; it is left as it is.
        auto: transformers' class that others will load the model with.
        task: peft's name for what the model does.
        checkpoint_bytes: of all checkpoints that will lie on the disk at once.
        provenance: how goals are said; None for reward models.
        trust_remote_code: run code that the checkpoint brings.
    """

    tokenizer: Any
    auto: Any
    task: str = "CAUSAL_LM"
    checkpoint_bytes: int = 0
    provenance: Provenance | None = None
    trust_remote_code: bool = False


def checkpoint_bytes(model: Any, settings: Optimisation, steps: int) -> int:
    """Count the bytes of the checkpoints that lie on the disk at once: the last ones, and the one being written.

    Args:
        model: to be trained, without adapters.
        settings: of the training.
        steps: of the whole training; one that ends before its first checkpoint is due writes none.

    Returns:
        0 also where only adapters are trained, which are small.
    """
    if settings.lora is not None or steps <= settings.save_every:
        return 0
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    weights = sum(parameter.nbytes for parameter in parameters)
    return (settings.keep_checkpoints + 1) * (weights + count_state_bytes(settings.optimizer, parameters))


def prove_end(
    model: Any,
    settings: Optimisation,
    tokens: Iterable[TokenRange],
    save: Callable[[Any, Path], object],
    out: Path,
    plan: SavingTrial,
) -> list[str]:
    """Prove before the first step that the data fit the model, and that saving into the run folder will work.

    Args:
        model: to be trained, without adapters.
        settings: of the training.
        tokens: of the units to train on and of those to evaluate on, which would crash in the middle of the run.
        save: writes a model into the folder that it is given, as the end will.
        out: run folder.
        plan: what the end will be like.

    Returns:
        what could not be proved, in sentences.

    Raises:
        ModelError, DataError, RunError: they do not, or it will not.
    """
    # On a GPU a token beyond the table would end the process without a message, so that all processes look.
    for part in tokens:
        check_fit(model, plan.tokenizer, part)
    # One process writes; the others would write the same files at the same time.
    if not is_main_process(os.environ):
        return []

    def save_untrained(folder: Path) -> object:
        if settings.lora is None or settings.lora.merge:
            return save(model, folder)
        # Of adapters that are saved alone, new ones, which are zero, stand for the trained ones.
        with trial_adapters(model, settings, task=plan.task) as adapted:
            return save(adapted, folder)

    return rehearse(save_untrained, out, plan)


def rehearse(save: Callable[[Path], object], out: Path, plan: SavingTrial) -> list[str]:
    """Save, load, ask the template, and remove what was saved.

    Args:
        save: writes the model folder that it is given, as the end will.
        out: run folder.
        plan: what the end will be like.

    Returns:
        what was not rehearsed, in sentences.

    Raises:
        ModelError: model, tokenizer or template cannot be saved, or not loaded again, or mean something else then.
        RunError: the disk has no room for what training will write.
    """
    folder = out / FOLDER
    template = plan.tokenizer.chat_template
    try:
        # How long writing takes tells how long reading back would: both are bound by the disk.
        began = time.monotonic()
        try:
            save(folder)
        except Exception as error:
            if isinstance(error, PrefboostError) or is_disk_fault(error):
                raise
            raise ModelError(
                f"the trained model could not be saved: {_first_line(error)}",
                remedy="nothing was trained yet: correct or replace the file of the model that the message names",
            ) from error
        seconds = time.monotonic() - began
        # The order matters: the saved template is compared with the plain one that training uses.
        plan.tokenizer.chat_template = template  # saving lets it say goals
        skipped = _load(folder, plan, seconds)
        _ask(folder, plan)
        size = size_of(folder)
    finally:
        plan.tokenizer.chat_template = template
        for left in (folder, folder.with_name(f"{FOLDER}.unfinished")):
            shutil.rmtree(left, ignore_errors=True)
    # After removal, so that the rehearsal's own files do not count as used space.
    check_space(out, size + max(0, plan.checkpoint_bytes - size_of(out / "checkpoints")))
    return skipped


def _load(folder: Path, plan: SavingTrial, seconds: float) -> list[str]:
    """Read configuration and weights back, as whoever uses the model will.

    Args:
        folder: where they are.
        plan: what the end will be like.
        seconds: that writing took.

    Returns:
        why weights were not read whole, in a sentence.

    Raises:
        ModelError: they cannot be read, or weights are missing.
    """
    from peft import PeftConfig
    from safetensors import safe_open
    from transformers import AutoConfig

    with explain_loading(str(folder), what="model as it would be saved"):
        files = sorted(folder.glob("*.safetensors"))
        alone = (folder / "adapter_config.json").is_file()
        if alone:
            PeftConfig.from_pretrained(folder)
        elif files:
            AutoConfig.from_pretrained(folder, trust_remote_code=plan.trust_remote_code)
        # Opening reads the header alone: it is damaged or cut where the file is.
        for file in files:
            with safe_open(file, framework="pt"):
                pass
        if alone or not files:
            return []  # an adapter is whole where its header is: it is small
        size = sum(file.stat().st_size for file in files)
        free = free_memory()
        reason = ""
        if size > _LOADED and (free is None or free < _COPIES * size):
            amount = "nobody knows how much" if free is None else f"{free / 2**30:.1f} GiB of"
            reason = f"a second copy would need {_COPIES * size / 2**30:.1f} GiB, and {amount} memory is free"
        elif size > _LOADED and seconds > _PATIENCE_S:
            reason = f"writing them took {seconds:.0f} s already"
        if reason:
            return [
                f"rehearsal: of the {size / 2**30:.1f} GiB of weights only the headers were read back, since {reason}"
            ]
        # Weights that transformers drops in saving (tied ones that are not tied) show as missing here.
        _, report = plan.auto.from_pretrained(
            folder, output_loading_info=True, dtype="auto", trust_remote_code=plan.trust_remote_code
        )
    if report["missing_keys"]:
        raise ModelError(
            f"the saved model would lack weights: {', '.join(sorted(report['missing_keys'])[:3])}",
            remedy="use a checkpoint of an architecture that transformers itself can save and load",
        )
    return []


def _ask(folder: Path, plan: SavingTrial) -> None:
    """Compare the saved tokenizer and its template with those that training uses.

    Raises:
        ModelError: the tokenizer splits texts otherwise, or the template says something else.
    """
    from transformers import AutoTokenizer

    with explain_loading(str(folder), what="tokenizer as it would be saved"):
        saved = AutoTokenizer.from_pretrained(folder, trust_remote_code=plan.trust_remote_code)
    # Without a goal given, the saved template has to say the top score by itself.
    facts = plan.provenance
    messages: Sequence[Any] = _QUESTION
    if facts is not None and facts.say is not None:
        text = goal_text(facts.say, facts.top, dict(facts.top_aspects or {}))
        messages = place_goal(_QUESTION, text, facts.say.place)
    expected, rendered = _render(plan.tokenizer, messages, goal=False), _render(saved, _QUESTION)
    if rendered != expected:
        raise ModelError(
            f"the saved chat template would change: alone it renders {rendered!r:.200}, in training {expected!r:.200}",
            remedy="give another template: chat_template: FILE.jinja",
        )
    # Slow tokenizers are converted when they are saved, and some conversions split text otherwise.
    ids = [each(expected, add_special_tokens=False)["input_ids"] for each in (plan.tokenizer, saved)]
    if ids[0] != ids[1]:
        raise ModelError(
            "the tokenizer splits text into other tokens after saving and loading",
            remedy="use the tokenizer in the format of tokenizers (tokenizer.json)",
            place=Place(str(folder.parent)),
        )


def _render(tokenizer: Any, messages: Sequence[Any], **options: Any) -> str:
    try:
        text: str = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True, **options)
    except Exception as error:  # a template is code of the model's author: it may raise anything
        raise ModelError(
            f"the chat template cannot render a simple question: {_first_line(error)}",
            remedy="give another template: chat_template: FILE.jinja",
        ) from error
    return text


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines[:2])[:300]}"
