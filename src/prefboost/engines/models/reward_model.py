"""Reward models: whole texts in, a number (or one an aspect) out, read at the text's last token.

Any sequence-classification model of transformers. Texts that begin alike (completions of one prompt) are computed as
one stream without padding, their common beginning once; where the architecture cannot do that, they are padded. Both
give what the model's own forward gives.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any

from prefboost.chat.rendering import ChatEncoder
from prefboost.devices import NumberName, release_memory
from prefboost.engines.models.loading_faults import explain_loading
from prefboost.engines.models.packaged import model_folder
from prefboost.engines.models.weights import count_embedding_rows, load_tokenizer
from prefboost.errors import ModelError
from prefboost.losses.completion_logps import pad_sequences
from prefboost.losses.rope_by_length import apply_rope_groups, group_rows

if TYPE_CHECKING:
    from torch import Tensor

    from prefboost.packing import Packed

__all__ = [
    "RewardModel",
    "enable_packed_rewards",
    "ids_of_text",
    "load_reward_model",
    "rewards_of",
    "text_ids",
    "text_tensors",
    "with_heads",
]

OVERALL = "overall"
"""Name of the head of a model that has but one."""

_FAILS = (TypeError, ValueError, RuntimeError, AttributeError, NotImplementedError, LookupError)


@dataclass(frozen=True)
class RewardModel:
    """A sequence-classification model and how it is run.

    Args:
        model: of transformers; on its device.
        tokenizer: with a chat template.
        unpacked: why texts are padded, in a sentence; empty where they are packed.
        output: field of the model's output that holds the rewards.
        named: what each number of the output stands for; None: as the checkpoint says.
    """

    model: Any
    tokenizer: Any
    unpacked: str = ""
    output: str = "logits"
    named: tuple[str, ...] | None = None

    @property
    def packs(self) -> bool:
        """Whether texts are computed as one stream."""
        return not self.unpacked

    @property
    def heads(self) -> tuple[str, ...]:
        """What each number stands for: ``overall``, or the names that the checkpoint gives its heads."""
        if self.named is not None:
            return self.named
        config = self.model.config
        return (OVERALL,) if config.num_labels == 1 else tuple(config.id2label[at] for at in range(config.num_labels))

    @property
    def pad_id(self) -> int:
        """The token that texts are padded with."""
        return int(self.model.config.get_text_config().pad_token_id)


def load_reward_model(
    name: str,
    dtype: NumberName = "float32",
    *,
    heads: Sequence[str] | None = None,
    chat_template: str | None = None,
    **options: Any,
) -> RewardModel:
    """Load a reward model in evaluation mode, on the CPU, its packing not tried yet (`enable_packed_rewards`).

    Args:
        name: a folder, a hub id, or ``package:NAME``: a reward model, or with ``heads`` any model to train one from.
        dtype: number type of the weights.
        heads: names of the heads of a model to be trained; a head that the checkpoint lacks is drawn at random. Its
            configuration says regression, so that others (pipelines, vLLM) give the outputs as they are.
        chat_template: Jinja text instead of the tokenizer's own.
        options: revision, trust_remote_code, attn_implementation.

    Raises:
        ModelError: there is no such model, it is no reward model, or its weights are not safetensors.
    """
    from transformers import AutoModelForSequenceClassification

    release_memory()  # of the reward models that this one follows
    # None would let transformers ask at the terminal whether the code is trusted
    options = {**options, "trust_remote_code": bool(options.get("trust_remote_code"))}
    tokenizer = load_tokenizer(name, revision=options.get("revision"), trust_remote_code=options["trust_remote_code"])
    tokenizer.padding_side = "right"
    if chat_template is not None:
        tokenizer.chat_template = chat_template
    settings = {key: value for key, value in options.items() if value is not None}
    if heads is not None:
        labels = {"id2label": dict(enumerate(heads)), "label2id": {head: at for at, head in enumerate(heads)}}
        settings |= {"num_labels": len(heads), **labels, "problem_type": "regression"}
    with _quiet():
        try:
            with explain_loading(name, what="reward model", attention=settings.get("attn_implementation")):
                model, report = AutoModelForSequenceClassification.from_pretrained(
                    model_folder(name), dtype=dtype, use_safetensors=True, output_loading_info=True, **settings
                )
        except ModelError:
            _refuse_own_code(name, options)
            raise
    if heads is None and report["missing_keys"]:
        _refuse_own_code(name, options)
        raise ModelError(
            f"{name} is not a reward model: its checkpoint lacks {', '.join(sorted(report['missing_keys'])[:3])}",
            remedy="train one with `prefboost train-reward`, or name a model made for sequence classification",
        )
    _refuse_gaps(model, name, report["missing_keys"])
    text = model.config.get_text_config()
    if text.pad_token_id is None:
        text.pad_token_id = tokenizer.pad_token_id
    rows = count_embedding_rows(model)
    if None not in (rows, text.pad_token_id) and text.pad_token_id >= rows:
        raise ModelError(
            f"texts would be padded with token {text.pad_token_id}, but the embedding of {name} has {rows:,} rows",
            remedy="use the tokenizer of the model, or set pad_token_id in config.json (a token that ends no text)",
        )
    return RewardModel(model.eval(), tokenizer, unpacked="packing was not tried")


def _refuse_gaps(model: Any, name: str, missing: Iterable[str]) -> None:
    """Refuse a checkpoint without weights that no training makes up for: all but the head, and a pooler before it.

    Raises:
        ModelError: names the first of them.
    """
    body = f"{model.base_model_prefix}."
    # A head is trained, and BERT's pooler before it; nothing trains a body that was drawn at random.
    gaps = sorted(key for key in missing if key.startswith(body) and "pooler" not in key)
    if gaps:
        raise ModelError(
            f"the checkpoint {name!r} lacks {len(gaps)} weights of {type(model).__name__}, e.g. {gaps[0]}: they would "
            "be initialised at random",
            remedy="use a complete checkpoint, of the architecture that config.json names",
        )


def _refuse_own_code(name: str, options: Mapping[str, Any]) -> None:
    """Name the code that a checkpoint brings, where it is not to be run; nothing of it is read.

    Raises:
        ModelError: the checkpoint has a class of its own for sequence classification.
    """
    from transformers import PretrainedConfig

    if options["trust_remote_code"]:
        return
    try:
        config, _ = PretrainedConfig.get_config_dict(model_folder(name), revision=options.get("revision"))
    except (OSError, ValueError):
        return
    reference = config.get("auto_map", {}).get("AutoModelForSequenceClassification")
    if reference is not None:
        raise ModelError(
            f"{name} contains its own code ({reference}), which runs only on request",
            remedy="read that code, then set trust_remote_code to true",
        )


def text_ids(encoder: ChatEncoder, prompt: Sequence[Any], completion: Sequence[Any], pad_id: int) -> list[int]:
    """Encode a prompt and its completion as the chat template writes a whole conversation."""
    return ids_of_text(encoder, encoder.render_conversation(prompt, completion), pad_id)


def ids_of_text(encoder: ChatEncoder, text: str, pad_id: int) -> list[int]:
    """Encode a rendered conversation.

    Sequence-classification models read the last token that is not padding; trailing tokens that are the padding token
    too are left out, so that the last one is that token in a packed stream as well.
    """
    ids = encoder.encode([text])[0]
    end = len(ids)
    while end and ids[end - 1] == pad_id:
        end -= 1
    return ids[:end]


def text_tensors(model: RewardModel, texts: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Build the model's inputs for S texts: a packed stream, or padded ids and their mask."""
    from prefboost.packing import pack

    nothing: list[tuple[int, ...]] = [()] * len(texts)
    if model.packs:
        return {"texts": pack(texts, nothing)}
    padded = pad_sequences(texts, nothing, model.pad_id)
    return {name: padded[name] for name in ("input_ids", "attention_mask")}


def rewards_of(model: RewardModel, tensors: Mapping[str, Any], called: Any = None) -> Tensor:
    """Compute rewards of texts, with a gradient where gradients are on.

    Args:
        model: how it is run.
        tensors: of `text_tensors`, on the model's device.
        called: the model inside its wrappers (DDP, adapters), where there are any.

    Returns:
        [S, H], float32 (float64 for float64 models).
    """
    import torch

    run = model.model if called is None else called
    if "texts" in tensors:
        output_rewards = run(texts=tensors["texts"])
    else:
        options = {"use_cache": False} if "use_cache" in inspect.signature(type(model.model).forward).parameters else {}
        with apply_rope_groups(model.model, group_rows(model.model, tensors["attention_mask"])):
            output = run(**tensors, **options)
        output_rewards = getattr(output, model.output, None)
        if output_rewards is None:
            raise ModelError(
                f"{type(model.model).__name__} has no output {model.output!r}; it has {', '.join(output.keys())}",
                remedy="name the field with the rewards, e.g. output: logits",
            )
    rewards: Tensor = output_rewards.reshape(len(output_rewards), -1)
    # What is computed with them (differences, losses) would lose its last bits again in bfloat16.
    return rewards if rewards.dtype == torch.float64 else rewards.float()


def with_heads(reward_model: RewardModel, text: Sequence[int], names: Sequence[str] = ()) -> RewardModel:
    """Name every number of the model's output, counted on one text: ``num_labels`` may differ from it.

    ArmoRM (arXiv 2406.12845), for one, gives a scalar ``score`` beside 19 ``rewards``.

    Args:
        reward_model: how it is run.
        text: token ids.
        names: of the numbers; empty: those that the checkpoint gives its heads, or OUTPUT_0, OUTPUT_1 ...

    Raises:
        ModelError: the model has no such output, or another number of names than of numbers is given.
    """
    from dataclasses import replace

    import torch

    if not reward_model.packs:
        with torch.inference_mode():
            tensors = _move_tensors(text_tensors(reward_model, [text]), next(reward_model.model.parameters()).device)
            count = rewards_of(reward_model, tensors).shape[1]
    else:
        count = int(reward_model.model.config.num_labels)
    if names and len(names) != count:
        raise ModelError(
            f"the output {reward_model.output!r} has {count} numbers, but {len(names)} heads are named: "
            f"{', '.join(names)}",
            remedy="name every head, in the order of the output, or none",
        )
    named = tuple(names) if names else reward_model.heads
    if len(named) != count:
        named = (OVERALL,) if count == 1 else tuple(f"{reward_model.output}_{at}" for at in range(count))
    return replace(reward_model, named=named)


def enable_packed_rewards(reward_model: RewardModel) -> RewardModel:
    """Run the model over packed streams if it gives the same rewards there as over padded texts (tried, not guessed).

    ``model(texts=Packed)`` then returns rewards [S, H], through the model's own forward.
    """
    from dataclasses import replace

    import torch

    from prefboost.packing import compute_end_states, enable_packing

    model = reward_model.model
    if reward_model.output != "logits" or getattr(model, "score", None) is None:
        return replace(
            reward_model, unpacked=f"{type(model).__name__} has no linear head named score over its last token"
        )
    before = model.config._attn_implementation
    reason = ""
    original = model.forward

    # The model's forward takes packed texts beside what it takes already.
    @wraps(original)
    def forward(*args: Any, texts: Packed | None = None, **kwargs: Any) -> Any:
        if texts is None:
            return original(*args, **kwargs)
        hidden = compute_end_states(model, texts)
        # Eight bits are too few for a reward.
        with torch.autocast(hidden.device.type, enabled=False):
            return model.score(hidden.to(next(model.score.parameters()).dtype))

    model.forward = forward
    # A dense mask is for older models alone: it takes memory that grows with the square of the stream's length.
    for dense in (False, True):
        try:
            with _quiet():
                enable_packing(model, dense=dense)
            if _measure_difference(reward_model) < 1.0:
                return replace(reward_model, unpacked="")
            reason = f"{type(model).__name__} gives other rewards over a packed stream than over padded texts"
        except _FAILS as error:
            reason = f"{type(model).__name__} cannot be run over a packed stream: {_first_line(error)}"
        with _quiet():
            model.set_attn_implementation(before)
    return replace(reward_model, unpacked=reason)


def _measure_difference(reward_model: RewardModel) -> float:
    """Measure the largest difference of packed and padded rewards, in units of the tolerance."""
    from dataclasses import replace

    import torch

    model = reward_model.model
    parameter = next(model.parameters())
    draw = torch.Generator().manual_seed(0)
    vocabulary = int(model.config.get_text_config().vocab_size)

    def draw_tokens(count: int) -> list[int]:
        tokens = torch.randint(0, vocabulary, (4 * count,), generator=draw).tolist()
        return [token for token in tokens if token != reward_model.pad_id][:count]

    # Three of four texts begin alike, as those of a pair do: packing computes their beginning once.
    common = draw_tokens(20)
    texts = [common + draw_tokens(7), common + draw_tokens(3), draw_tokens(9), common + draw_tokens(30)]
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            packed, padded = (
                rewards_of(way, _move_tensors(text_tensors(way, texts), parameter.device)).double()
                for way in (replace(reward_model, unpacked=""), replace(reward_model, unpacked="for comparison"))
            )
    finally:
        model.train(was_training)
    # Wider for narrower types: sums are ordered otherwise in a stream, and bfloat16 keeps eight bits of them.
    tolerance = {torch.float64: 1e-6, torch.float32: 1e-3}.get(parameter.dtype, 0.05)
    return float(((packed - padded).abs() / (tolerance * (1 + padded.abs()))).max())


def _move_tensors(tensors: Mapping[str, Any], device: Any) -> dict[str, Any]:
    return {name: tensor.to(device) for name, tensor in tensors.items()}


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress bars, and remarks on heads that are about to be trained."""
    from transformers.utils import logging

    level, enabled = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if enabled:
            logging.enable_progress_bar()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
