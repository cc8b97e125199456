"""vLLM inside this process: its offline ``LLM``, prompts through the checkpoint's own chat template."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from prefboost.devices import NumberChoice, NumberSetting, choose_numbers, log_number_choice
from prefboost.engines.budget import Ledger
from prefboost.engines.engine import Failure, Messages, Outcome, Request, Result, Sampling, row_seed
from prefboost.engines.identity import identity_of, name_library
from prefboost.engines.local.engine import Local
from prefboost.engines.models.weights import fingerprint_of_model, name_weights
from prefboost.engines.openai.logprobs import log_sum, token_text
from prefboost.engines.reasoning import opens_reasoning
from prefboost.errors import ModelError, require_extra
from prefboost.settings import Settings

__all__ = ["IMMATERIAL", "VLLM", "VLLMEngine"]

_LAST_BITS = "rows meet others in a batch, or sums are split otherwise: the last bits alone, as between any two batches"
IMMATERIAL = {
    "kind": "stands in the identity by its name and version",
    "model": "its weights, tokenizer files and configuration are fingerprinted",
    "revision": "the hub's commit stands in the place of a fingerprint; a folder has none",
    "dtype": "the resolved number type is named",
    "adapter": "its weights and configuration are fingerprinted",
    "adapter_rank": "room for the adapter; a rank that is too low is refused by vLLM",
    "tensor_parallel": _LAST_BITS,
    "gpu_memory": "room for the cache of keys and values: how many rows are computed at once",
    "batch_rows": _LAST_BITS,
    "chat_template": "the rendered prompt is part of every key",
}
"""Settings that add nothing to the identity, and why. ``context`` does: rows beyond it are refused, but models of
LongRoPE choose their frequencies by it."""

_NO_LOGPROBS = "vLLM gives no log-probs of the tokens it writes"
_EVIDENCE = 3
"""Rows without log-probs, and none with them, after which this vLLM is taken to give none at all."""
_TOP = 20
"""Likeliest tokens that are asked for: the most that vLLM gives by default."""


class VLLM(Settings):
    """A model on this machine's GPUs, run by vLLM."""

    kind: Literal["vllm"] = Field("vllm", description="Runs the model here, by vLLM.")
    model: str = Field(description="A folder or a hub id.")
    revision: str | None = Field(None, description="Branch, tag or commit of a hub id.")
    dtype: NumberSetting = Field(
        "auto",
        description="Number type of the weights; auto: bfloat16 where the device computes it natively, else float32.",
    )
    adapter: str | None = Field(None, description="Folder of a LoRA adapter for the model.")
    adapter_rank: int = Field(64, ge=1, description="Highest rank of an adapter (vLLM's max_lora_rank).")
    tensor_parallel: int = Field(1, ge=1, description="GPUs that each layer is split over.")
    gpu_memory: float = Field(0.9, gt=0.0, le=1.0, description="Share of each GPU's memory that vLLM takes.")
    context: int | None = Field(None, ge=1, description="Most tokens, of prompt and completion; null: the model's own.")
    batch_rows: int = Field(1024, ge=1, description="Rows handed to vLLM, and stored, at a time.")
    chat_template: str | None = Field(
        None, description="Jinja text with a chat template, in the place of the tokenizer's own."
    )
    trust_remote_code: bool = Field(False, description="Run code that the checkpoint brings.")

    def open(self) -> VLLMEngine:
        """Open the engine; its model is loaded when it is first needed."""
        return VLLMEngine(self)


class VLLMEngine:
    """See `prefboost.engines.engine.Engine`. Written against the interface of vLLM 0.11 to 0.32; run with 0.32.

    Every row is a request with a seed of its own; the prompt of several samples is computed once (prefix caching).
    The same seed gives the same completion where vLLM's kernels do, which batching may change in the last bits.

    Args:
        settings: which model, on how many GPUs.

    Raises:
        ModelError: there is no such model, or its tokenizer has no chat template.
    """

    remote = False

    def __init__(self, settings: VLLM) -> None:
        self.settings = settings
        self.ledger = Ledger()
        self._template = Local(
            model=settings.model,
            revision=settings.revision,
            chat_template=settings.chat_template,
            trust_remote_code=settings.trust_remote_code,
        ).open()

    @cached_property
    def llm(self) -> Any:
        """vLLM's ``LLM``.

        Raises:
            MissingExtra: vLLM is not installed.
            ModelError: vLLM cannot load the model.
        """
        with require_extra("vllm", "vllm"):
            from vllm import LLM
        settings = self.settings
        # Said before the model is loaded, which takes minutes.
        log_number_choice(self.numbers)
        lora = {"enable_lora": True, "max_lora_rank": settings.adapter_rank} if settings.adapter else {}
        try:
            return LLM(
                model=settings.model,
                revision=settings.revision,
                dtype=self.numbers.name,
                tensor_parallel_size=settings.tensor_parallel,
                gpu_memory_utilization=settings.gpu_memory,
                max_model_len=settings.context,
                enable_prefix_caching=True,
                trust_remote_code=settings.trust_remote_code,
                **lora,
            )
        except (RuntimeError, ValueError, OSError) as error:
            raise ModelError(
                f"vLLM cannot load {settings.model!r}: {(str(error).splitlines() or [''])[0][:300]}",
                remedy="lower gpu_memory or context, raise tensor_parallel, or use the engine local",
            ) from error

    @cached_property
    def numbers(self) -> NumberChoice:
        """The number type of the weights: the settings', or what the device computes natively."""
        return choose_numbers(self.settings.dtype)

    @cached_property
    def identity(self) -> str:
        """Fingerprints of weights and adapter, number type, vLLM's version, and what else changes answers."""
        settings = self.settings
        # An adapter changes every answer, and so does its scale, which stands in its configuration.
        weights = name_weights(settings.model, settings.revision, trust_remote_code=settings.trust_remote_code)
        adapter = [] if settings.adapter is None else [fingerprint_of_model(settings.adapter)]
        return identity_of([weights, self.numbers.name, name_library("vllm"), *adapter], settings, IMMATERIAL)

    @property
    def says_goals(self) -> bool:
        """Whether the checkpoint's chat template says goals by itself."""
        return self._template.says_goals

    @cached_property
    def context(self) -> int | None:
        """As set; else what vLLM found in the model's configuration."""
        # The model is loaded for it: what vLLM allows depends on its configuration and on this version's rules.
        return self.settings.context or int(self.llm.llm_engine.model_config.max_model_len)

    def render(self, request: Request) -> str:
        """Render the prompt through the chat template."""
        return self._template.render(request)

    def render_conversation(self, messages: Messages) -> str:
        """Render a whole conversation through the chat template."""
        return self._template.render_conversation(messages)

    def prompt_tokens(self, requests: Sequence[Request]) -> list[int]:
        """Count the tokens of each rendered prompt."""
        return self._template.prompt_tokens(requests)

    def plan(self, requests: Sequence[Request], sampling: Sampling) -> list[list[int]]:
        """Cut the rows into batches of ``batch_rows``, in order, so that samples of a prompt stay together."""
        # vLLM schedules rows by itself; batches only bound what a killed process has to repeat.
        rows, size = list(range(len(requests))), self.settings.batch_rows
        return [rows[start : start + size] for start in range(0, len(rows), size)]

    def generate(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[tuple[int, Outcome]]:
        """Complete every request, in the order of the plan; a row that vLLM refuses is a Failure and stops no other."""
        rows = list(requests)
        for batch in self.plan(rows, sampling):
            texts = [self.render(rows[index]) for index in batch]
            options = [
                {
                    "temperature": sampling.temperature,
                    "top_p": sampling.top_p,
                    "max_tokens": sampling.max_tokens,
                    # vLLM takes a signed number of 64 bits.
                    "seed": row_seed(sampling, text, rows[index].sample) % 2**63,
                    "json_schema": rows[index].json_schema,
                }
                for index, text in zip(batch, texts, strict=True)
            ]
            outputs = self._outputs(self._template.encode_texts(texts), options)
            for index, prompt, output in zip(batch, texts, outputs, strict=True):
                yield index, output if isinstance(output, Failure) else self._result(prompt, output)

    def logprobs_of(
        self, requests: Iterable[Request], choices: Sequence[str]
    ) -> Iterator[tuple[int, tuple[float, ...] | Failure]]:
        """Yield the log-prob of each choice as the first token, among the 20 likeliest; blanks around it do not count.

        Raises:
            ModelError: as many rows as are evidence had no log-probs, and none had them.
        """
        prompts = self._template.encode_texts([self.render(request) for request in requests])
        options = [{"temperature": 1.0, "max_tokens": 1, "logprobs": _TOP, "seed": 0}] * len(prompts)
        lacking, weighed = 0, 0
        for index, output in enumerate(self._outputs(prompts, options)):
            row: tuple[float, ...] | Failure
            if isinstance(output, Failure):
                row = output
            elif first := next(iter((output.outputs and output.outputs[0].logprobs) or []), None):
                masses: dict[str, list[float]] = {}
                for entry in first.values():
                    masses.setdefault(token_text(str(entry.decoded_token)), []).append(float(entry.logprob))
                row = tuple(log_sum(masses.get(choice.strip(), [])) for choice in choices)
                if any(map(math.isnan, row)):
                    row = Failure("the log-prob of a choice is no number", 1)
            else:
                row = Failure(_NO_LOGPROBS, 1, unavailable=True)
            weighed += not isinstance(row, Failure)
            lacking += isinstance(row, Failure) and row.unavailable
            if lacking >= _EVIDENCE and not weighed:
                raise ModelError(_NO_LOGPROBS, remedy="read answers in words, or use the engine local")
            yield index, row

    def logprob_of(self, requests: Sequence[Request], completions: Sequence[Messages]) -> list[float]:
        """Compute the log-prob of each completion given its prompt: nats, summed over tokens, end of turn included.

        NaN for a row that could not be had.

        Raises:
            ModelError: no row could be had.
        """
        texts = [self._template.render_ended_turn(*row) for row in zip(requests, completions, strict=True)]
        turns = [tuple(self._template.encode_texts(parts)) for parts in texts]
        options = [{"temperature": 1.0, "max_tokens": 1, "prompt_logprobs": 0}] * len(turns)
        outputs = self._outputs([[*prompt, *answer] for prompt, answer in turns], options)
        logps = []
        for (prompt, answer), output in zip(turns, outputs, strict=True):
            # Position t holds the log-prob of token t given those before it; the first token has none.
            listed = [] if isinstance(output, Failure) else (output.prompt_logprobs or [])
            rows = listed[len(prompt) : len(prompt) + len(answer)]
            entries = [row.get(token) if row else None for token, row in zip(answer, rows, strict=False)]
            values = [float(entry.logprob) for entry in entries if entry is not None]
            is_whole = not isinstance(output, Failure) and len(values) == len(answer)
            logps.append(math.fsum(values) if is_whole else math.nan)
        if logps and all(math.isnan(logp) for logp in logps):
            reason = next((output.reason for output in outputs if isinstance(output, Failure)), _NO_LOGPROBS)
            raise ModelError(f"log-probs are missing: {reason}", remedy="use the engine local")
        return logps

    def _result(self, prompt: str, output: Any) -> Outcome:
        written = output.outputs[0] if output.outputs else None
        if written is None or written.finish_reason not in ("stop", "length", None):
            why = "nothing" if written is None else f"the reason {written.finish_reason!r}"
            return Failure(f"vLLM ended the row with {why}", 1)
        reason: Literal["stop", "length"] = "length" if written.finish_reason == "length" else "stop"
        counts = (len(output.prompt_token_ids), len(written.token_ids))
        text = self._template.decode_marked(written.token_ids) or written.text
        return Result.from_text(text, reason, counts, opened=opens_reasoning(prompt))

    def _outputs(self, prompts: Sequence[Sequence[int]], options: Sequence[dict[str, Any]]) -> list[Any]:
        """Run vLLM on each row; a refused row is a Failure. vLLM refuses a whole call over one row."""
        if not prompts:
            return []
        # Names what is missing before the imports below fail.
        llm = self.llm
        from vllm import SamplingParams
        from vllm.lora.request import LoRARequest
        from vllm.sampling_params import StructuredOutputsParams

        adapter = self.settings.adapter
        lora = LoRARequest(Path(adapter).name, 1, adapter) if adapter is not None else None
        inputs = [{"prompt_token_ids": list(prompt)} for prompt in prompts]
        params = []
        for option in options:
            fields = {name: value for name, value in option.items() if name != "json_schema"}
            if option.get("json_schema") is not None:
                fields["structured_outputs"] = StructuredOutputsParams(json=option["json_schema"])
            params.append(SamplingParams(**fields))
        try:
            outputs: list[Any] = llm.generate(inputs, params, use_tqdm=False, lora_request=lora)
        except ValueError as error:
            # One by one, to find the row: what vLLM refuses is the whole call.
            if len(prompts) == 1:
                return [Failure(f"vLLM refuses it: {(str(error).splitlines() or [''])[0][:200]}", 1, permanent=True)]
            rows = zip(prompts, options, strict=True)
            return [each for prompt, option in rows for each in self._outputs([prompt], [option])]
        return outputs
