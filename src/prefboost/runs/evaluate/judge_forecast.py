"""Forecast the calls and tokens of judging, without asking anything."""

from __future__ import annotations

from collections.abc import Sequence

from prefboost.engines.engine import Engine, Failure, Request
from prefboost.engines.store.interface import AnswerStore
from prefboost.evaluation.benchmark import JudgeRequest
from prefboost.forecast import CallForecast
from prefboost.runs.evaluate.judge_probe import build_request, choose_reading, read_fallback

__all__ = ["estimate_prompt_tokens", "forecast_judging"]

_BYTES_PER_TOKEN, _TOKENS_PER_MESSAGE = 4.35, 4
"""Measured with SmolLM2's tokenizer on AlpacaEval's questions to the judge; the latter are tokens around a message."""


def forecast_judging(
    requests: Sequence[JudgeRequest], engine: Engine, store: AnswerStore | None = None, counted: set[str] | None = None
) -> CallForecast:
    """Count what `judge_requests` would ask.

    Args:
        requests: requests of a benchmark.
        engine: the judge; only its tokenizer is used, and its identity where there is a store.
        store: open store, whose replies are not asked for; None: everything is.
        counted: questions of earlier benchmarks, which are not asked again; those of this benchmark are added.
    """
    questions = {
        f"{request.choices} {engine.render(build_request(request))}": request
        for request in requests
        if request.needs_call
    }
    earlier = set() if counted is None else counted
    fresh = {text: question for text, question in questions.items() if text not in earlier}
    earlier.update(fresh)
    stored: set[str] = set()
    failed: set[str] = set()
    refused: set[str] = set()
    if store is not None:
        in_words = bool(read_fallback(requests, engine, store))
        keys = {
            text: choose_reading(question, in_words=in_words).describe(engine, build_request(question)).key
            for text, question in fresh.items()
        }
        replies, failures = store.find_answers(keys.values()), store.failures(keys.values())
        stored = {text for text, key in keys.items() if key in replies}
        failed = {text for text, key in keys.items() if key in failures} - stored
        refused = {text for text in stored if isinstance(replies[keys[text]], Failure)}
    left = [question for text, question in fresh.items() if text not in stored]
    read = estimate_prompt_tokens(engine, [build_request(question) for question in left])
    most = sum(question.max_tokens for question in left)
    return CallForecast(
        "judge", len(left), len(stored), len(failed), len(refused), prompt_tokens=read, most_tokens=most
    )


def estimate_prompt_tokens(engine: Engine, requests: Sequence[Request]) -> int:
    """Count the tokens of all prompts; estimate them from bytes for a server without a named tokenizer.

    Args:
        engine: engine whose tokens are counted.
        requests: prompts.
    """
    if not engine.remote or getattr(getattr(engine, "settings", None), "tokenizer", None) is not None:
        return sum(engine.prompt_tokens(requests))
    texts = [str(message["content"]) for request in requests for message in request.prompt]
    tokens = [len(text.encode("utf-8", "replace")) / _BYTES_PER_TOKEN + _TOKENS_PER_MESSAGE for text in texts]
    return round(sum(tokens))
