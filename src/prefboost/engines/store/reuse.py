"""Asking engines through a store: what it holds is not asked again, and every answer is kept as it comes."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar, cast

from prefboost.engines.budget import Budget
from prefboost.engines.engine import Engine, Failure, Outcome, Request, Result, Sampling, SendsBodies
from prefboost.engines.openai.logprobs import LOGPROBS_READER
from prefboost.engines.openai.replies import READER
from prefboost.engines.pool import count_batches_at_once
from prefboost.engines.store.interface import AnswerStore, StoreQuery
from prefboost.engines.store.pending import (
    BatchStream,
    Finished,
    Logprobs,
    Numbers,
    PendingPiece,
    RowKeeper,
    ask_in_batches,
    ask_singly,
    build_piece,
)

__all__ = [
    "query_completion",
    "query_logprobs",
    "compute_stored",
    "generate_pieces",
    "generate_stored",
    "generate_within_budget",
    "logprobs_stored",
    "weigh_pieces",
    "weigh_within_budget",
]

P = TypeVar("P")
T = TypeVar("T")

_ONE_TOKEN = Sampling(temperature=0.0, top_p=1.0, max_tokens=1)


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
    engine: Engine, requests: Sequence[Request], sampling: Sampling, store: AnswerStore
) -> Iterator[Finished[Result]]:
    """Complete every request, taking from the store what it holds; see `generate_pieces`."""
    rows = [(index, query_completion(engine, request, sampling), request) for index, request in enumerate(requests)]
    return generate_pieces(engine, [build_piece(rows)], sampling, store)


def generate_pieces(
    engine: Engine, pieces: Iterable[PendingPiece[Request]], sampling: Sampling, store: AnswerStore
) -> Iterator[Finished[Result]]:
    """Complete the requests of every piece, taking from the store what it holds.

    Args:
        engine: completes what is missing. Where it is remote, rows are stored one by one; else a batch, planned from
            all requests of a piece, is stored as a whole, so that an interrupted run repeats whole batches and its rows
            equal an uninterrupted run's to the last bit.
        pieces: drawn when the engine gets to them; queries are those of `query_completion`.
        sampling: for all requests.
        store: open.

    Yields:
        rows as they finish. Those that the budget did not allow are missing in the end.
    """

    def stream(some: Iterator[Request]) -> Generator[list[tuple[int, Outcome]], None, None]:
        if (server := _server_of(engine)) is not None:
            return server.generate_batches(some, sampling)
        return ([pair] for pair in engine.generate(some, sampling))

    compute = partial(generate_within_budget, engine, sampling=sampling)
    keeper = RowKeeper(store, lambda answer: Result(**answer))
    return _ask_missing(engine, keeper, pieces, stream, compute, sampling)


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
    if not ledger.reserve_patiently(most):
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
    engine: Engine, requests: Sequence[Request], choices: Sequence[str], store: AnswerStore
) -> Iterator[Finished[Logprobs]]:
    """Yield log-probs of choices (`Engine.logprobs_of`), reusing what the store holds; see `weigh_pieces`."""
    rows = [(index, query_logprobs(engine, request, choices), request) for index, request in enumerate(requests)]
    return weigh_pieces(engine, [build_piece(rows)], choices, store)


def weigh_pieces(
    engine: Engine, pieces: Iterable[PendingPiece[Request]], choices: Sequence[str], store: AnswerStore
) -> Iterator[Finished[Logprobs]]:
    """Yield log-probs of choices for the requests of every piece; stores and batches as in `generate_pieces`."""

    def stream(some: Iterator[Request]) -> Generator[list[tuple[int, Logprobs | Failure]], None, None]:
        if (server := _server_of(engine)) is not None:
            return server.logprobs_batches(some, choices)
        return ([pair] for pair in engine.logprobs_of(some, choices))

    compute = partial(weigh_within_budget, engine, choices=choices)
    keeper = RowKeeper(store, lambda answer: tuple(answer["logprobs"]))
    return _ask_missing(engine, keeper, pieces, stream, compute, _ONE_TOKEN)


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
    if not ledger.reserve_patiently(cost):
        return
    ledger.settle(cost, cost)
    ledger.close()
    yield from engine.logprobs_of(requests, choices)


def compute_stored(
    pieces: Iterable[PendingPiece[P]],
    plan: Callable[[list[P]], Iterable[Sequence[int]]],
    compute: Callable[[list[P]], list[list[float]]],
    store: AnswerStore,
    at_once: int = 1,
) -> Iterator[Finished[Numbers]]:
    """Compute numbers, reusing what the store holds; claim and keep whole batches.

    Args:
        pieces: of sequences.
        plan: sequences of a piece, whatever the store holds of it -> places of each batch.
        compute: numbers of a batch.
        store: open.
        at_once: most batches that are computed at a time.
    """

    def ask(sequences: list[P]) -> Iterator[tuple[int, Numbers]]:
        for at, values in enumerate(compute(sequences)):
            yield at, Numbers(values)

    keeper = RowKeeper(store, lambda answer: Numbers(**answer))
    yield from ask_in_batches(BatchStream(keeper, pieces, plan, lambda: False), keeper, ask, at_once)


def _ask_missing(
    engine: Engine,
    keeper: RowKeeper[T],
    pieces: Iterable[PendingPiece[Request]],
    stream: Callable[[Iterator[Request]], Generator[Sequence[tuple[int, Any]], None, None]],
    compute: Callable[[Sequence[Request]], Iterator[tuple[int, Any]]],
    sampling: Sampling,
) -> Iterator[Finished[T]]:
    """Yield what the store holds and what an engine answers: one by one from a server, else in planned batches."""
    if engine.remote:
        # A server's calls are independent of each other, so each answer is kept as it comes.
        yield from ask_singly(engine, keeper, pieces, stream)
        return
    batches = BatchStream(
        keeper, pieces, lambda requests: engine.plan(requests, sampling), lambda: engine.ledger.exhausted
    )
    yield from ask_in_batches(batches, keeper, compute, count_batches_at_once(engine))
