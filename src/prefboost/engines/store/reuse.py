"""Asking engines through a store: what it holds is not asked again, and every answer is kept as it comes."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar, cast

from prefboost.engines.budget import Budget
from prefboost.engines.engine import Engine, Failure, Outcome, Request, Result, Sampling, SendsBodies
from prefboost.engines.openai.logprobs import LOGPROBS_READER
from prefboost.engines.openai.replies import READER
from prefboost.engines.store.store import Store, Stored, StoreQuery

__all__ = [
    "Finished",
    "Logprobs",
    "Numbers",
    "query_completion",
    "query_logprobs",
    "compute_stored",
    "generate_stored",
    "generate_within_budget",
    "logprobs_stored",
    "weigh_within_budget",
]

T = TypeVar("T")
Logprobs = tuple[float, ...]

_CLAIMED_AT_ONCE = 16
_POLL_S = 0.2
_ONE_TOKEN = Sampling(temperature=0.0, top_p=1.0, max_tokens=1)


@dataclass(frozen=True)
class Numbers:
    """Numbers that a model computes from a sequence: one per head, or a log-prob."""

    values: list[float]


@dataclass(frozen=True)
class Finished(Generic[T]):
    """Rows that are done: (index of the request, answer or failure), and whether another call had done them."""

    results: list[tuple[int, T | Failure]]
    stored: bool


def query_completion(engine: Engine, request: Request, sampling: Sampling) -> StoreQuery:
    """Build the store's query of a completion.

    Of a server: the body that is sent, the sample's number (the body may hold no seed) and the version of the reader.
    Of this machine: model, rendered prompt, sampling, sample's number and schema.
    """
    if (server := _server_of(engine)) is not None:
        return _query_body("generate", engine, server.generation_body(request, sampling), READER, sample=request.sample)
    schema = {} if request.json_schema is None else {"json_schema": request.json_schema}
    return StoreQuery(
        "generate",
        {
            "engine": engine.identity,
            "prompt": engine.render(request),
            "sampling": sampling.model_dump(),
            "sample": request.sample,
            **schema,
        },
    )


def generate_stored(
    engine: Engine,
    requests: Sequence[Request],
    sampling: Sampling,
    store: Store,
    queries: Sequence[StoreQuery] | None = None,
) -> Iterator[Finished[Result]]:
    """Complete every request, taking from the store what it holds.

    Args:
        engine: completes what is missing. Where it is remote, rows are stored one by one; else a batch, planned from
            all requests, is stored as a whole, so that an interrupted run repeats whole batches and its rows equal an
            uninterrupted run's to the last bit.
        requests: all of them; requests that are the same in everything are asked once.
        sampling: for all requests.
        store: open.
        queries: `query_completion` of every request, where the caller has them.

    Yields:
        rows as they finish. Those that the budget did not allow are missing in the end.
    """
    if queries is None:
        queries = [query_completion(engine, request, sampling) for request in requests]

    def stream(some: Iterator[Request]) -> Generator[list[tuple[int, Outcome]], None, None]:
        if (server := _server_of(engine)) is not None:
            return server.generate_batches(some, sampling)
        return ([pair] for pair in engine.generate(some, sampling))

    compute = partial(generate_within_budget, engine, sampling=sampling)
    return _ask_missing(
        engine, requests, _Rows(queries, store, lambda answer: Result(**answer)), stream, compute, sampling
    )


def generate_within_budget(
    engine: Engine, requests: Sequence[Request], sampling: Sampling
) -> Iterator[tuple[int, Outcome]]:
    """Generate within the ledger's budget: nothing of a batch of which the budget allows a part alone.

    A remote engine settles every call by itself; for others all requests count as one batch.
    """
    if engine.remote:
        yield from engine.generate(requests, sampling)
        return
    ledger = engine.ledger
    # Counting tokens needs the tokenizer, which costs more than an unlimited ledger is worth.
    limited = ledger.budget != Budget()
    read = sum(engine.prompt_tokens(requests)) if limited else 0
    most = ledger.cost(read, len(requests) * sampling.max_tokens if limited else 0, requests=len(requests))
    if not ledger.reserve(most):
        ledger.exhausted = True
        return
    actual = ledger.cost(0, 0, requests=0)
    try:
        for index, outcome in engine.generate(requests, sampling):
            tokens = (outcome.prompt_tokens, outcome.tokens) if isinstance(outcome, Result) else (0, 0)
            actual += ledger.cost(*tokens)
            yield index, outcome
    finally:
        # Also where the consumer stops early: what was not generated is given back.
        ledger.settle(most, actual)
        ledger.close()


def logprobs_stored(
    engine: Engine,
    requests: Sequence[Request],
    choices: Sequence[str],
    store: Store,
    queries: Sequence[StoreQuery] | None = None,
) -> Iterator[Finished[Logprobs]]:
    """Yield log-probs of choices (`Engine.logprobs_of`), reusing what the store holds; batches as in generation."""
    if queries is None:
        queries = [query_logprobs(engine, request, choices) for request in requests]

    def stream(some: Iterator[Request]) -> Generator[list[tuple[int, Logprobs | Failure]], None, None]:
        if (server := _server_of(engine)) is not None:
            return server.logprobs_batches(some, choices)
        return ([pair] for pair in engine.logprobs_of(some, choices))

    rows = _Rows(queries, store, lambda answer: tuple(answer["logprobs"]))
    compute = partial(weigh_within_budget, engine, choices=choices)
    return _ask_missing(engine, requests, rows, stream, compute, _ONE_TOKEN)


def query_logprobs(engine: Engine, request: Request, choices: Sequence[str]) -> StoreQuery:
    """Build the store's query of log-probs: the body that is sent, or model and rendered prompt; and the choices."""
    if (server := _server_of(engine)) is not None:
        return _query_body("logprobs", engine, server.choices_body(request), LOGPROBS_READER, choices=list(choices))
    return StoreQuery(
        "logprobs", {"engine": engine.identity, "prompt": engine.render(request), "choices": list(choices)}
    )


def _server_of(engine: Engine) -> SendsBodies | None:
    return cast(SendsBodies, engine) if hasattr(engine, "generation_body") else None


def _query_body(kind: str, engine: Engine, body: Mapping[str, Any], reader: int, **parts: Any) -> StoreQuery:
    return StoreQuery(kind, {"engine": engine.identity, "body": body, "reader": reader, **parts})


def weigh_within_budget(
    engine: Engine, requests: Sequence[Request], choices: Sequence[str]
) -> Iterator[tuple[int, Logprobs | Failure]]:
    """Yield log-probs of choices within the ledger's budget; a question to a local engine counts as a call too."""
    if engine.remote:
        yield from engine.logprobs_of(requests, choices)
        return
    ledger = engine.ledger
    cost = ledger.cost(sum(engine.prompt_tokens(requests)), 0, requests=len(requests))
    if not ledger.reserve(cost):
        ledger.exhausted = True
        return
    ledger.settle(cost, cost)
    ledger.close()
    yield from engine.logprobs_of(requests, choices)


def compute_stored(
    queries: Sequence[StoreQuery],
    plan: Callable[[list[int]], Iterable[Sequence[int]]],
    compute: Callable[[Sequence[int]], list[list[float]]],
    store: Store,
) -> Iterator[Finished[Numbers]]:
    """Compute numbers on this machine, reusing what the store holds; claim and keep whole batches.

    Args:
        queries: of all sequences; equal ones are computed once.
        plan: indices of different sequences, all of them whatever the store holds -> batches of them.
        compute: numbers of a batch.
        store: open.
    """
    rows = _Rows(queries, store, lambda answer: Numbers(**answer))
    stored = rows.read_stored()
    if stored.results:
        yield stored

    def ask(batch: Sequence[int]) -> Iterator[tuple[int, Numbers]]:
        for at, values in enumerate(compute(batch)):
            yield at, Numbers(values)

    # No plan where all is stored: planning may load a model.
    batches = plan(rows.list_unique()) if rows.list_missing() else []
    yield from _ask_in_batches(lambda: False, rows, list(batches), ask)


class _Rows(Generic[T]):
    """Rows of a request list by index; several indices may have the same key."""

    def __init__(self, queries: Sequence[StoreQuery], store: Store, read: Callable[[Mapping[str, Any]], T]) -> None:
        self.asked = queries
        self.store = store
        self.read = read
        # Key -> indices; equal requests are asked once and answered at every index.
        self.places: dict[str, list[int]] = {}
        for index, each in enumerate(queries):
            self.places.setdefault(each.key, []).append(index)
        self.done: set[str] = set()

    def list_unique(self) -> list[int]:
        """List the first index of every key."""
        return [places[0] for places in self.places.values()]

    def list_missing(self) -> list[int]:
        """List the first index of every key without an answer."""
        return [places[0] for key, places in self.places.items() if key not in self.done]

    def order_missing(self) -> list[int]:
        """Order them: rows that failed in an earlier call last, so that the others are done if those stop this one."""
        # A row that breaks a server would otherwise be the first that every new call asks.
        missing = self.list_missing()
        failed = self.store.failures(self.asked[index].key for index in missing)
        return sorted(missing, key=lambda index: self.asked[index].key in failed)

    def read_stored(self) -> Finished[T]:
        """Read what the store has answered already."""
        return self.collect(self.store.find_answers(self.places), stored=True)

    def collect(self, stored_by_key: Mapping[str, Stored], *, stored: bool) -> Finished[T]:
        """Spread answers over all the indices of their keys."""
        self.done.update(stored_by_key)
        return Finished(
            [
                (index, answer if isinstance(answer, Failure) else self.read(answer))
                for key, answer in stored_by_key.items()
                for index in self.places[key]
            ],
            stored,
        )

    def keep(self, outcomes: Sequence[tuple[int, Any]]) -> Finished[T]:
        """Store answers that have come."""
        rows: list[tuple[StoreQuery, Stored]] = []
        for index, outcome in outcomes:
            stored: Stored
            if isinstance(outcome, Failure):
                stored = outcome
            elif isinstance(outcome, Result | Numbers):
                # asdict() would copy every field in depth, for a quarter of what keeping an answer takes.
                stored = dict(vars(outcome))
            else:
                stored = {"logprobs": list(outcome)}
            rows.append((self.asked[index], stored))
        return self.collect(self.store.finish(rows), stored=False)


def _ask_singly(
    engine: Engine,
    rows: _Rows[T],
    ask: Callable[[Iterable[int]], Generator[Sequence[tuple[int, Any]], None, None]],
) -> Iterator[Finished[T]]:
    """Claim rows as the engine gets to them, keep them as they come, and wait for what other processes ask."""
    waiting = rows.order_missing()
    while waiting:
        # Filled by the generator below while the engine draws from it: position in the engine's order -> index.
        taken: list[int] = []
        held: list[int] = []
        others: list[Finished[T]] = []
        # Closed here, also where an answer cannot be kept: calls in flight are cancelled and settled before that error
        # goes on, not whenever the interpreter collects the generator.
        with closing(ask(_claim_rows(rows, waiting, taken, held, others))) as batches:
            for batch in batches:
                outcomes = [(taken[at], outcome) for at, outcome in batch]
                try:
                    finished = rows.keep(outcomes)
                except KeyboardInterrupt:
                    # Where Ctrl-C comes in between, answers are kept before it goes on: they are paid for.
                    rows.keep(outcomes)
                    raise
                yield finished
                while others:
                    yield others.pop()
        yield from others
        if engine.ledger.exhausted:
            return
        waiting = held
        if waiting:
            # SQLite has no way to wake another process; five looks in a second cost nothing beside a call.
            time.sleep(_POLL_S)


def _claim_rows(
    rows: _Rows[T], waiting: Sequence[int], taken: list[int], held: list[int], others: list[Finished[T]]
) -> Iterator[int]:
    for start in range(0, len(waiting), _CLAIMED_AT_ONCE):
        # Claimed in chunks as the engine gets to them, so that processes that share a store share its work.
        chunk = waiting[start : start + _CLAIMED_AT_ONCE]
        claim = rows.store.claim([rows.asked[index] for index in chunk])
        first = {rows.asked[index].key: index for index in chunk}
        if claim.known:
            others.append(rows.collect(claim.known, stored=True))
        held.extend(first[key] for key in claim.held)
        for key in claim.granted:
            taken.append(first[key])
            yield first[key]


def _ask_missing(
    engine: Engine,
    requests: Sequence[Request],
    rows: _Rows[T],
    stream: Callable[[Iterator[Request]], Generator[Sequence[tuple[int, Any]], None, None]],
    compute: Callable[[Sequence[Request]], Iterator[tuple[int, Any]]],
    sampling: Sampling,
) -> Iterator[Finished[T]]:
    """Yield what the store holds, then what an engine answers: one by one from a server, else in planned batches."""
    stored = rows.read_stored()
    if stored.results:
        yield stored
    if engine.remote:
        # A server's calls are independent of each other, so each answer is kept as it comes.
        yield from _ask_singly(engine, rows, lambda indices: stream(requests[index] for index in indices))
        return
    chosen = rows.list_unique()
    # Planned from all rows, stored ones too: an interrupted run must meet the same batches to the last bit.
    plan = [[chosen[at] for at in batch] for batch in engine.plan([requests[index] for index in chosen], sampling)]
    yield from _ask_in_batches(
        lambda: engine.ledger.exhausted, rows, plan, lambda batch: compute([requests[index] for index in batch])
    )


def _ask_in_batches(
    stopped: Callable[[], bool],
    rows: _Rows[T],
    plan: Sequence[Sequence[int]],
    ask: Callable[[Sequence[int]], Iterator[tuple[int, Any]]],
) -> Iterator[Finished[T]]:
    """Claim and keep whole batches."""
    waiting = list(plan)
    while waiting:
        held: list[Sequence[int]] = []
        for batch in waiting:
            missing = [index for index in batch if rows.asked[index].key not in rows.done]
            claim = rows.store.claim([rows.asked[index] for index in missing], whole=True)
            if claim.known:
                yield rows.collect(claim.known, stored=True)
            if claim.held:
                # Another process computes a part of this batch; it is looked at again after the others.
                held.append(batch)
                continue
            granted = set(claim.granted)
            granted_indices = [index for index in missing if rows.asked[index].key in granted]
            if granted_indices:
                yield rows.keep([(granted_indices[at], outcome) for at, outcome in ask(granted_indices)])
            if stopped():
                return
        waiting = held
        if waiting:
            time.sleep(_POLL_S)
