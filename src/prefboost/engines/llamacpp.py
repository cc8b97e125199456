"""llama.cpp inside this process, for GGUF files; the wheels of xllamacpp bring it built."""

from __future__ import annotations

import glob
import hashlib
import json
import re
import secrets
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, Literal, TypeVar

from pydantic import Field

from prefboost.chat import to_record
from prefboost.devices import usable_cores
from prefboost.engines.budget import Ledger
from prefboost.engines.engine import Failure, Messages, Outcome, Request, Sampling, renders_goals, row_seed
from prefboost.engines.identity import identity_of, name_library
from prefboost.engines.models.packaged import gguf_file
from prefboost.engines.openai.logprobs import read_choice_logprobs
from prefboost.engines.openai.replies import Malformed, RefusedRowError, Unavailable, read_results
from prefboost.engines.reasoning import opens_reasoning
from prefboost.errors import ModelError, Place, require_extra
from prefboost.settings import Settings

__all__ = ["IMMATERIAL", "LlamaCpp", "LlamaCppEngine"]

_LAST_BITS = "rows meet others in a batch, or sums are ordered otherwise: the last bits alone"
IMMATERIAL = {
    "kind": "stands in the identity by its name and version",
    "model": "the file is fingerprinted, all parts of it, with its number types and rotary settings",
    "chat_template": "it is part of the fingerprint",
    "parallel": _LAST_BITS,
    "threads": _LAST_BITS,
    "gpu_layers": _LAST_BITS,
    "batch_rows": _LAST_BITS,
}
"""Settings that add nothing to the identity, and why. ``context`` does: rows beyond it are refused, but models of
LongRoPE choose their frequencies by it."""

T = TypeVar("T")

_TOP = 20
_BLOCK = 1 << 20


class LlamaCpp(Settings):
    """A GGUF file, run on this machine by llama.cpp."""

    kind: Literal["llamacpp"] = Field("llamacpp", description="Runs a GGUF file here, by llama.cpp.")
    model: str = Field(description="A .gguf file, or package:NAME (a PyPI package that holds one).")
    chat_template: str | None = Field(
        None, description="Jinja text instead of the file's own chat template, e.g. one that says goals."
    )
    context: int = Field(4096, ge=16, description="Most tokens, of prompt and completion, of one row.")
    parallel: int = Field(4, ge=1, description="Rows written at once.")
    threads: int = Field(0, ge=0, description="Threads; 0: as many as the cores that this process may use.")
    gpu_layers: int = Field(0, ge=0, description="Layers that a GPU computes, where the wheel was built for one.")
    batch_rows: int = Field(64, ge=1, description="Rows that are stored at a time.")

    def open(self) -> LlamaCppEngine:
        """Open the engine; its model is loaded when it is first needed."""
        return LlamaCppEngine(self)


class LlamaCppEngine:
    """See `prefboost.engines.engine.Engine`. Written against xllamacpp 2026.10.

    Chat templates are rendered by llama.cpp itself, with the goal passed to them (``chat_template_kwargs``). The same
    seed gives the same completion where rows meet the same others in a batch; ``parallel: 1`` makes sure of it.

    Raises:
        ModelError: there is no such file.
    """

    remote = False

    def __init__(self, settings: LlamaCpp) -> None:
        self.settings = settings
        self.ledger = Ledger()
        self.file = gguf_file(settings.model)
        self._key = secrets.token_urlsafe(16)

    @cached_property
    def server(self) -> Any:
        """llama.cpp's server inside this process. It listens on loopback, to whoever has its key.

        Raises:
            MissingExtra: xllamacpp is not installed.
            ModelError: llama.cpp cannot load the file.
        """
        with require_extra("xllamacpp", "llamacpp"):
            import xllamacpp
        settings, params = self.settings, xllamacpp.CommonParams()
        params.model.path = str(self.file)
        # llama.cpp divides its context among the slots, so each row has what the setting says.
        params.n_ctx, params.n_parallel = settings.context * settings.parallel, settings.parallel
        params.kv_unified = False
        params.n_gpu_layers = settings.gpu_layers
        params.warmup, params.verbosity, params.use_jinja = False, 0, True
        # The port is open to every process of this machine; the key keeps them out.
        params.api_keys = [self._key]
        # By itself llama.cpp counts the machine's cores, whatever affinity and control groups grant.
        threads = settings.threads or usable_cores()
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
        if settings.chat_template is not None:
            params.chat_template = settings.chat_template
        try:
            return xllamacpp.Server(params)
        except (RuntimeError, ValueError, OSError) as error:
            raise ModelError(
                f"llama.cpp cannot load it: {(str(error).splitlines() or [''])[0][:300]}",
                remedy="name the GGUF file of a chat model, or set a smaller context",
                place=Place(str(self.file)),
            ) from error

    @cached_property
    def identity(self) -> str:
        """Fingerprint of file and chat template, the version of llama.cpp's wheel, and what else changes answers."""
        digest = hashlib.sha256()
        # All parts of a split model: llama.cpp also loads those beside ``NAME-00001-of-00003.gguf``.
        numbered = re.fullmatch(r"(.*)-\d{5}-of-(\d{5})\.gguf", self.file.name)
        pattern = "" if numbered is None else f"{glob.escape(numbered[1])}-?????-of-{numbered[2]}.gguf"
        for file in sorted(self.file.parent.glob(pattern)) if pattern else [self.file]:
            size = file.stat().st_size
            with file.open("rb") as stream:
                # Evenly spaced blocks, as of other weights: a file of 40 GB is not read twice.
                for start in range(0, size, max(_BLOCK, size // 256)):
                    stream.seek(start)
                    digest.update(stream.read(_BLOCK))
        digest.update((self.settings.chat_template or "").encode())
        return identity_of([digest.hexdigest()[:16], name_library("xllamacpp")], self.settings, IMMATERIAL)

    @cached_property
    def says_goals(self) -> bool:
        """Whether asking for another goal changes the rendered prompt."""
        return renders_goals(self.render)

    @property
    def context(self) -> int | None:
        """As set."""
        return self.settings.context

    def render(self, request: Request) -> str:
        """Render the prompt through llama.cpp's chat template.

        Raises:
            ModelError: the chat template refuses the messages.
        """
        return self._apply_template(request.prompt, request)

    def render_conversation(self, messages: Messages) -> str:
        """Render a whole conversation through the chat template."""
        return self._apply_template(messages, Request(messages, goal=False), add_generation_prompt=False)

    def prompt_tokens(self, requests: Sequence[Request]) -> list[int]:
        """Count the tokens of each rendered prompt."""
        texts = [self.render(request) for request in requests]
        bodies = [{"content": text, "add_special": True, "parse_special": True} for text in texts]
        return [len(self._post("/tokenize", body)["tokens"]) for body in bodies]

    def plan(self, requests: Sequence[Request], sampling: Sampling) -> list[list[int]]:
        """Cut the rows into batches of ``batch_rows``, in order, so that samples of a prompt find it computed."""
        rows, size = list(range(len(requests))), self.settings.batch_rows
        return [rows[start : start + size] for start in range(0, len(rows), size)]

    def generate(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[tuple[int, Outcome]]:
        """Complete every request, in the order of the plan."""
        rows = list(requests)

        def ask(request: Request) -> Outcome:
            text = self.render(request)
            # llama.cpp would keep 40 tokens, and drop those far below the likeliest, without being asked to
            drawn = {
                "temperature": sampling.temperature,
                "top_p": sampling.top_p,
                "top_k": 0,
                "min_p": 0.0,
                "max_tokens": sampling.max_tokens,
                "seed": row_seed(sampling, text, request.sample) % 2**31,
            }
            opened = opens_reasoning(text)
            return self._chat(
                request, drawn, lambda reply: read_results(reply, text, sampling.max_tokens, opened=opened)[0]
            )

        yield from self._side_by_side(ask, rows)

    def logprobs_of(
        self, requests: Iterable[Request], choices: Sequence[str]
    ) -> Iterator[tuple[int, tuple[float, ...] | Failure]]:
        """Yield the log-prob of each choice as first token, among the 20 likeliest; blanks around it do not count."""
        options = {"max_tokens": 1, "temperature": 1.0, "logprobs": True, "top_logprobs": _TOP}

        def ask(request: Request) -> tuple[float, ...] | Failure:
            return self._chat(request, options, lambda reply: read_choice_logprobs(reply, choices))

        yield from self._side_by_side(ask, list(requests))

    def logprob_of(self, requests: Sequence[Request], completions: Sequence[Messages]) -> list[float]:
        """Refuse: no log-probs can be had here.

        Raises:
            ModelError: always: llama.cpp's server names log-probs of what it writes alone.
        """
        raise ModelError(
            "llama.cpp returns no log-probs of given completions", remedy="use the engine local or vllm for them"
        )

    def _side_by_side(self, ask: Callable[[Request], Any], requests: Sequence[Request]) -> Iterator[tuple[int, Any]]:
        if not requests:
            return
        # cached_property takes no lock: two threads would load two models.
        # Loaded once, before there are threads.
        assert self.server is not None
        with ThreadPoolExecutor(self.settings.parallel) as pool:
            try:
                yield from enumerate(pool.map(ask, requests))
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def _chat(self, request: Request, options: dict[str, Any], read: Callable[[Any], T]) -> T | Failure:
        schema = request.json_schema
        held = {} if schema is None else {"response_format": {"type": "json_schema", "json_schema": {
            "name": "completion", "schema": json.loads(schema)}}}  # fmt: skip
        try:
            reply = self.server.handle_chat_completions({**self._messages(request.prompt, request), **options, **held})
        except (RuntimeError, ValueError) as error:
            return Failure(f"llama.cpp: {(str(error).splitlines() or [''])[0][:200]}", 1)
        # In this process errors come as bodies, without a status of HTTP.
        refusal = reply.get("error")
        if refusal:
            return Failure(str(refusal.get("message", refusal))[:300], 1, permanent=refusal.get("code") == 400)
        try:
            return read(reply)
        except (Malformed, RefusedRowError, Unavailable) as fault:
            return Failure(str(fault), 1, unavailable=isinstance(fault, Unavailable))

    def _messages(self, messages: Messages, request: Request) -> dict[str, Any]:
        goals = request.goal_fields
        template_options = {"chat_template_kwargs": goals} if goals else {}
        return {"messages": [to_record(message) for message in messages], **request.tool_fields, **template_options}

    def _apply_template(self, messages: Messages, request: Request, **options: Any) -> str:
        return str(self._post("/apply-template", {**self._messages(messages, request), **options})["prompt"])

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        """Post a body to llama.cpp's own interface on loopback, for what xllamacpp has no method for.

        Raises:
            ModelError: it refuses the messages.
        """
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.server.listening_address}{path}", json.dumps(body).encode(), headers)
        # Past any proxy of the environment, which cannot reach loopback of this machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=60) as reply:
                return json.load(reply)
        except OSError as error:
            message = error.read().decode(errors="replace") if hasattr(error, "read") else str(error)
            raise ModelError(
                f"the chat template refuses the messages: {' '.join(message.split())[:300]}",
                remedy="give messages that the template accepts (alternating roles, a user turn last)",
            ) from error
