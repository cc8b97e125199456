"""A benchmark's requests asked of a judge through the store: log-probs where it gives them, else words, and said so."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from prefboost.engines.engine import Engine, Failure, Request, Result, Sampling
from prefboost.engines.store.reuse import Finished, generate_stored, logprobs_stored, query_completion, query_logprobs
from prefboost.engines.store.sightings import Sighting, Watch, sightings, today
from prefboost.engines.store.store import Store, StoreQuery
from prefboost.errors import ModelError
from prefboost.evaluation.benchmark import Benchmark, JudgeReply, JudgeRequest, JudgeVerdict
from prefboost.progress import Tell, WorkProgress
from prefboost.runs.evaluate.answering import unfinished

__all__ = [
    "JudgeForecast",
    "fallback_of",
    "forecast",
    "judged",
    "likely_prompt_tokens",
]

TOO_LONG = "the question and its answer exceed what the judge can see"
"""Why a request makes no call; its verdict is missing, and nothing is cut."""

_BYTES, _A_MESSAGE = 4.35, 4
"""Bytes of a token and tokens around a message: what SmolLM2's tokenizer has in AlpacaEval's questions to the judge."""

_PROBES = 3
"""Most questions with which it is found out whether a judge gives log-probs."""

_PROBE_DAYS = 7
"""Age in days at which what was found of a server is asked again: most give neither version nor fingerprint."""

_WORDS = 16
"""Most tokens of an answer in words to a question for log-probs: one name, and the end of the turn."""


@dataclass(frozen=True)
class JudgeForecast:
    """What judging would cost: calls (the same question is asked once), tokens read, and most tokens written.

    ``again`` of the calls failed or were refused in an earlier run.
    """

    calls: int
    prompt_tokens: int
    most_tokens: int
    stored: int = 0
    again: int = 0


def judged(
    benchmark: Benchmark,
    requests: Sequence[JudgeRequest],
    engine: Engine,
    store: Store,
    *,
    tell: Tell = lambda _: None,
    clock: Callable[[], str] = today,
) -> list[JudgeVerdict]:
    """Ask the judge, taking from the store what it holds, and read its replies.

    Args:
        benchmark: reads the replies.
        requests: what is asked; requests with a known value or a fault make no call.
        engine: the judge. Where it gives no log-probs, what it says is read in their place (`fallback_of`).
        store: open; a call that is killed goes on from it with no answer asked twice.
        tell: is told how far it is.
        clock: the date, noted with who answers (`sightings`).

    Returns:
        a verdict a request, in their order.

    Raises:
        RunError: the budget is spent; what is done stays in the store.
        ModelError: the judge cannot be reached.
    """
    replies: dict[int, JudgeReply] = {}
    watch = Watch(engine, store, clock)
    wanted, stored = sum(request.needs_call for request in requests), 0
    tell(WorkProgress("judge", wanted))
    too_long = _too_long(requests, engine)
    replies.update((at, JudgeReply(fault=TOO_LONG)) for at in too_long)
    for numbers in _alike(requests, too_long):
        for found in _replies([requests[at] for at in numbers], engine, store):
            replies.update((numbers[index], reply) for index, reply in found.results if isinstance(reply, JudgeReply))
            stored += len(found.results) if found.stored else 0
            if not found.stored:
                watch.look()
            tell(WorkProgress("judge", wanted, len(replies), stored, engine.ledger.spent))
    if getattr(engine, "answered_as", None):
        watch.look()
    if len(replies) < wanted:
        raise unfinished(engine, "the judge", len(replies), wanted)
    made = [benchmark.parse(one, replies.get(at, JudgeReply())) for at, one in enumerate(requests)]
    return [replace(verdict, judge=engine.identity) for verdict in made]


def fallback_of(requests: Sequence[JudgeRequest], engine: Engine, store: Store) -> str:
    """Why log-probs that a benchmark asks for are not had from a judge, whose words are then read; empty: they are.

    One question is asked for log-probs; where none come and the same question is answered in words, the judge gives
    none. What is found is kept in the store, and asked again by a later call where the server has answered under
    another name or fingerprint since, or after a week. A judge that cannot answer at all is no reason to fall back.
    """
    known = _known_fallback(requests, engine, store)
    if known is not None:
        return known
    asked = [one for one in requests if one.needs_call and one.choices]
    first = asked[0]
    reason = _probed(asked[:_PROBES], engine, store)
    if not engine.ledger.exhausted:
        place, _ = _last_probe(first, engine, store)
        probe = {"reason": reason, "names": sorted(_names(engine, store)), "date": today(), "by": store.owner}
        store.finish([(_capability(first, engine, place), probe)])
    return reason


def forecast(
    requests: Sequence[JudgeRequest], engine: Engine, store: Store | None = None, counted: set[str] | None = None
) -> JudgeForecast:
    """What `judged` would ask.

    Args:
        requests: of a benchmark.
        engine: the judge; only its tokenizer is used, and with a store its identity.
        store: open: what it holds is not asked; None: everything is.
        counted: questions of earlier benchmarks, which are not asked again; those of this one are added.
    """
    asked = {f"{one.choices} {engine.render(_request(one))}": one for one in requests if one.needs_call}
    earlier = set() if counted is None else counted
    asked = {text: one for text, one in asked.items() if text not in earlier}
    earlier.update(asked)
    known: set[str] = set()
    failed: set[str] = set()
    if store is not None:
        in_words = bool(_known_fallback(requests, engine, store))
        keys = {text: _key(one, engine, in_words) for text, one in asked.items()}
        held = store.find_answers(keys.values())
        known = {text for text, key in keys.items() if key in held}
        failures = store.failures(keys.values())
        failed = {text for text, key in keys.items() if key in failures} - known
    left = [one for text, one in asked.items() if text not in known]
    read = likely_prompt_tokens(engine, [_request(one) for one in left])
    return JudgeForecast(len(left), read, sum(one.max_tokens for one in left), len(known), len(failed))


def likely_prompt_tokens(engine: Engine, requests: Sequence[Request]) -> int:
    """Tokens of all prompts: counted, or, of a server whose tokenizer nobody named, estimated by their bytes.

    Args:
        engine: whose tokens they are.
        requests: prompts.
    """
    if not engine.remote or getattr(getattr(engine, "settings", None), "tokenizer", None) is not None:
        return sum(engine.prompt_tokens(requests))
    texts = [str(message["content"]) for request in requests for message in request.prompt]
    return round(sum(len(text.encode("utf-8", "replace")) / _BYTES + _A_MESSAGE for text in texts))


def _capability(first: JudgeRequest, engine: Engine, again: int = 0) -> StoreQuery:
    """Whether the engine gives log-probs of these choices, as it is set up: what a server is sent but the prompt.

    Args:
        first: question with the choices.
        engine: who is asked.
        again: how many probes came before, each of which stays in the store.
    """
    parts: dict[str, Any] = {"engine": engine.identity, "choices": list(first.choices)}
    parts |= {"again": again} if again else {}
    if engine.remote:
        hello = Request([{"role": "user", "content": "Hello", "extra": None}])
        parts |= query_logprobs(engine, hello, first.choices).parts
    return StoreQuery("gives logprobs", parts)


def _known_fallback(requests: Sequence[JudgeRequest], engine: Engine, store: Store) -> str | None:
    """What was found of a judge before; None: nothing yet. Empty where no log-probs are asked for."""
    first = next((one for one in requests if one.needs_call and one.choices), None)
    if first is None:
        return ""
    _, probe = _last_probe(first, engine, store)
    if probe is None or (probe.get("by") != store.owner and _is_outdated(probe, engine, store)):
        return None
    return str(probe["reason"])


def _last_probe(first: JudgeRequest, engine: Engine, store: Store) -> tuple[int, Mapping[str, Any] | None]:
    """How many probes the store holds, and what the last one found."""
    last = None
    for again in itertools.count():
        key = _capability(first, engine, again).key
        probe = store.find_answers([key]).get(key)
        if probe is None or isinstance(probe, Failure):
            return again, last
        last = probe
    raise AssertionError("probes are counted without end")


def _is_outdated(probe: Mapping[str, Any], engine: Engine, store: Store) -> bool:
    """Whether the server may have changed since a probe; within one call what it found stands."""
    if not engine.remote:
        return False
    age = date.fromisoformat(today()) - date.fromisoformat(probe.get("date", "2000-01-01"))
    return age.days >= _PROBE_DAYS or not _names(engine, store) <= {*probe.get("names", ())}


def _names(engine: Engine, store: Store) -> set[str]:
    """Names and fingerprints under which a server has answered, in this call and before."""
    replies: set[tuple[str, str]] = set(getattr(engine, "answered_as", set()))
    answered = {Sighting(engine.identity, model, fingerprint, "").name for model, fingerprint in replies}
    return answered | {one.name for one in sightings(store) if one.engine == engine.identity}


def _probed(questions: Sequence[JudgeRequest], engine: Engine, store: Store) -> str:
    """Why there are no log-probs; empty where there are, or where the judge refuses this question in words too.

    Args:
        questions: a reply that lacks log-probs may be one row's fault, so another question is asked before they are
            given up; a refusal says why and needs no second one.
    """
    first, reason = questions[0], ""
    for question in questions:
        try:
            found = [
                outcome
                for batch in logprobs_stored(engine, [_request(question)], question.choices, store)
                for _, outcome in batch.results
            ]
        except (ModelError, NotImplementedError) as error:
            reason = error.found if isinstance(error, ModelError) else "the engine gives no log-probs"
            break
        failure = next((outcome for outcome in found if isinstance(outcome, Failure)), None)
        if failure is None or not (failure.permanent or failure.unavailable):
            return ""
        reason = failure.reason
        if failure.permanent:
            break
    if not reason:
        return ""
    words = generate_stored(engine, [_request(first)], _sampling(first), store)
    said = [outcome for batch in words for _, outcome in batch.results]
    return reason if any(isinstance(outcome, Result) for outcome in said) else ""


def _too_long(requests: Sequence[JudgeRequest], engine: Engine) -> set[int]:
    """Numbers of requests that the judge cannot see whole with room to answer; none where its context is not known."""
    if engine.context is None:
        return set()
    asked = [at for at, one in enumerate(requests) if one.needs_call]
    lengths = engine.prompt_tokens([_request(requests[at]) for at in asked])
    pairs = zip(asked, lengths, strict=True)
    return {at for at, length in pairs if length + requests[at].max_tokens > engine.context}


def _alike(requests: Sequence[JudgeRequest], left_out: set[int]) -> list[list[int]]:
    """Numbers of requests that are asked, together where choices and sampling are the same."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for at, one in enumerate(requests):
        if one.needs_call and at not in left_out:
            groups.setdefault((one.choices, one.max_tokens, one.temperature), []).append(at)
    return list(groups.values())


def _request(one: JudgeRequest) -> Request:
    return Request([{**message, "extra": None} for message in one.messages])


def _sampling(one: JudgeRequest) -> Sampling:
    most = max(one.max_tokens, _WORDS) if one.choices else one.max_tokens
    return Sampling(temperature=0.0 if one.choices else one.temperature, top_p=1.0, max_tokens=most)


def _key(one: JudgeRequest, engine: Engine, in_words: bool) -> str:
    if one.choices and not in_words:
        return query_logprobs(engine, _request(one), one.choices).key
    return query_completion(engine, _request(one), _sampling(one)).key


def _replies(requests: Sequence[JudgeRequest], engine: Engine, store: Store) -> Iterator[Finished[JudgeReply]]:
    asked, first = [_request(one) for one in requests], requests[0]
    if first.choices and not fallback_of(requests, engine, store):
        for numbers in logprobs_stored(engine, asked, first.choices, store):
            yield Finished([(index, _weighed(found)) for index, found in numbers.results], numbers.stored)
        return
    for texts in generate_stored(engine, asked, _sampling(first), store):
        yield Finished([(index, _worded(outcome)) for index, outcome in texts.results], texts.stored)


def _weighed(found: tuple[float, ...] | Failure) -> JudgeReply:
    return JudgeReply(fault=found.reason) if isinstance(found, Failure) else JudgeReply(logprobs=found)


def _worded(outcome: Result | Failure) -> JudgeReply:
    if isinstance(outcome, Failure):
        return JudgeReply(fault=outcome.reason)
    thinks = "the judge thought and gave no answer" if outcome.only_thinks else ""
    cut = "the answer was cut at max_tokens" if outcome.finish_reason == "length" else thinks
    return JudgeReply(outcome.text, fault=cut)
