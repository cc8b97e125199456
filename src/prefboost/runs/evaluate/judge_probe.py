"""Find out whether a judge gives the log-probs that a benchmark reads, or whether its words have to be read instead."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from prefboost.engines.ask import ChoiceLogprobs, InWords, Reading
from prefboost.engines.engine import Engine, Failure, Request, Result, Sampling
from prefboost.engines.store.interface import AnswerStore, StoreQuery
from prefboost.engines.store.reuse import generate_stored, logprobs_stored
from prefboost.engines.store.sightings import Sighting, list_reply_names, sightings, today
from prefboost.errors import ModelError
from prefboost.evaluation.benchmark import JudgeRequest

__all__ = ["build_request", "choose_reading", "find_fallback", "read_fallback"]

_PROBES = 3
"""Greatest number of questions with which a judge is probed."""

_PROBE_DAYS = 7
"""Age in days at which a server is probed again: most servers give neither version nor fingerprint."""

_WORDS = 16
"""Most tokens of an answer in words to a question for log-probs: one name, and the end of the turn."""


def build_request(question: JudgeRequest) -> Request:
    """Build the engine's request for a question to the judge."""
    return Request([{**message, "extra": None} for message in question.messages])


def choose_reading(question: JudgeRequest, *, in_words: bool) -> Reading:
    """Choose what is read of the judge.

    Args:
        question: a question to the judge.
        in_words: the judge gives no log-probs (`find_fallback`).
    """
    if question.choices and not in_words:
        return ChoiceLogprobs(question.choices)
    # In words the likeliest choice is wanted, so that the temperature of the log-probs plays no part.
    temperature = 0.0 if question.choices else question.temperature
    most = max(question.max_tokens, _WORDS) if question.choices else question.max_tokens
    return InWords(Sampling(temperature=temperature, top_p=1.0, max_tokens=most))


def find_fallback(questions: Sequence[JudgeRequest], engine: Engine, store: AnswerStore) -> str:
    """Return why a judge's words are read instead of log-probs; an empty string where log-probs are read.

    One question is asked for log-probs; where none come and the same question is answered in words, the judge gives
    none. The finding is stored. A later call probes again where the server has since replied under another name or
    fingerprint, or after a week. A judge that cannot answer at all is no reason to fall back.

    Args:
        questions: questions to the judge; those without choices need no log-probs.
        engine: the judge.
        store: open store.
    """
    finding = read_fallback(questions, engine, store)
    if finding is not None:
        return finding
    # A question that is too long would only show that it is too long.
    fitting = (
        question for question in questions if question.needs_call and question.choices and _fits(question, engine)
    )
    probes = list(itertools.islice(fitting, _PROBES))
    if not probes:
        return ""
    reason = _probe(probes, engine, store)
    if not engine.ledger.exhausted:
        count, _ = _read_last_probe(probes[0], engine, store)
        probe = {"reason": reason, "names": sorted(_list_names(engine, store)), "date": today(), "by": store.owner}
        store.finish([(_describe_capability(probes[0], engine, count), probe)])
    return reason


def read_fallback(questions: Sequence[JudgeRequest], engine: Engine, store: AnswerStore) -> str | None:
    """Return the stored finding of `find_fallback`; None where there is none, or none that still holds."""
    first = next((question for question in questions if question.needs_call and question.choices), None)
    if first is None:
        return ""
    _, probe = _read_last_probe(first, engine, store)
    if probe is None:
        return None
    # Within one call the finding holds: verdicts read in two ways would not be comparable.
    if probe.get("by") != store.owner and engine.remote:
        age = date.fromisoformat(today()) - date.fromisoformat(probe.get("date", "2000-01-01"))
        # The server may have changed since: it has not been probed for long, or replies under another name.
        if age.days >= _PROBE_DAYS or not _list_names(engine, store) <= {*probe.get("names", ())}:
            return None
    return str(probe["reason"])


def _probe(questions: Sequence[JudgeRequest], engine: Engine, store: AnswerStore) -> str:
    """Return why there are no log-probs; an empty string where there are, or where words are refused too.

    Args:
        questions: questions to probe with. A reply without log-probs may be the fault of one row, so another question
            is asked before log-probs are given up; a refusal gives its reason and needs no second one.
        engine: the judge.
        store: open store.
    """
    reason = ""
    for question in questions:
        try:
            batches = list(logprobs_stored(engine, [build_request(question)], question.choices, store))
        except (ModelError, NotImplementedError) as error:
            reason = error.message if isinstance(error, ModelError) else "the engine gives no log-probs"
            break
        replies = [reply for batch in batches for _, reply in batch.results]
        failure = next((reply for reply in replies if isinstance(reply, Failure)), None)
        if failure is None or not (failure.permanent or failure.unavailable):
            return ""
        reason = failure.reason
        if failure.permanent:
            break
    if not reason:
        return ""
    reading = choose_reading(questions[0], in_words=True)
    assert isinstance(reading, InWords)
    words = list(generate_stored(engine, [build_request(questions[0])], reading.sampling, store))
    answers = [reply for batch in words for _, reply in batch.results]
    return reason if any(isinstance(answer, Result) for answer in answers) else ""


def _fits(question: JudgeRequest, engine: Engine) -> bool:
    if engine.context is None:
        return True
    (length,) = engine.prompt_tokens([build_request(question)])
    return length + question.max_tokens <= engine.context


def _describe_capability(question: JudgeRequest, engine: Engine, probes: int = 0) -> StoreQuery:
    """Return the row of the store that says whether an engine gives log-probs of a question's choices.

    The row depends on how the engine is set up: on what a server is sent besides the prompt.

    Args:
        question: question with the choices.
        engine: the judge.
        probes: number of earlier probes, each of which stays in the store.
    """
    parts: dict[str, Any] = {"engine": engine.identity, "choices": list(question.choices)}
    parts |= {"again": probes} if probes else {}
    if engine.remote:
        hello = Request([{"role": "user", "content": "Hello", "extra": None}])
        parts |= ChoiceLogprobs(question.choices).describe(engine, hello).parts
    return StoreQuery("gives logprobs", parts)


def _read_last_probe(
    question: JudgeRequest, engine: Engine, store: AnswerStore
) -> tuple[int, Mapping[str, Any] | None]:
    """Return the number of probes in the store, and the finding of the last."""
    last = None
    for count in itertools.count():
        key = _describe_capability(question, engine, count).key
        probe = store.find_answers([key]).get(key)
        if probe is None or isinstance(probe, Failure):
            return count, last
        last = probe
    raise AssertionError("probes are counted without end")


def _list_names(engine: Engine, store: AnswerStore) -> set[str]:
    """List names and fingerprints under which a server has replied, in this call and before."""
    fresh = {Sighting(engine.identity, *name, "").name for name in list_reply_names(engine)}
    return fresh | {sighting.name for sighting in sightings(store) if sighting.engine == engine.identity}
