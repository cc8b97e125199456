"""Ask a model through the store: each question once, within the budget, with progress; an interrupted call resumes.

Generation, synthesis, scoring, judging and the answers of an evaluation all go through `Inquiry`. Keys and files of the
store are those of `prefboost.engines.store.reuse`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from prefboost.engines.call_session import NOT_YET, CallSession
from prefboost.engines.engine import Engine, Failure, Request, Result, Sampling
from prefboost.engines.store.interface import AnswerStore, StoreQuery
from prefboost.engines.store.pending import Finished, Logprobs, PendingPiece, PendingRow, build_piece
from prefboost.engines.store.reuse import (
    generate_pieces,
    generate_within_budget,
    query_completion,
    query_logprobs,
    weigh_pieces,
    weigh_within_budget,
)
from prefboost.engines.store.sightings import Watch
from prefboost.progress import WorkProgress

__all__ = ["ChoiceLogprobs", "InWords", "Inquiry", "Reading", "Reply", "Unasked"]


@dataclass(frozen=True)
class Unasked:
    """Mark of a question that no model was asked.

    Args:
        reason: `NOT_YET` where only stored replies are wanted; `Inquiry.too_long` where the model cannot see it whole.
        detail: the numbers behind the reason.
    """

    reason: str
    detail: str = ""


Reply = Result | Logprobs | Failure | Unasked
"""Outcome of a question: words, log-probs of choices, a failure, or a mark that it was not asked."""


@dataclass(frozen=True)
class InWords:
    """Read a model's answer in words.

    Args:
        sampling: how answers are drawn.
    """

    sampling: Sampling

    @property
    def max_tokens(self) -> int:
        """Greatest length of an answer in tokens."""
        return self.sampling.max_tokens

    def describe(self, engine: Engine, request: Request) -> StoreQuery:
        """Return the row of the store that holds the answer."""
        return query_completion(engine, request, self.sampling)

    def ask_stored(
        self, engine: Engine, pieces: Iterable[PendingPiece[Request]], store: AnswerStore
    ) -> Iterator[Finished[Any]]:
        """Complete the requests of every piece through the store; their queries are those of `describe`."""
        return generate_pieces(engine, pieces, self.sampling, store)

    def ask_directly(self, engine: Engine, requests: Sequence[Request]) -> Iterator[tuple[int, Any]]:
        """Complete every request within the budget, without a store."""
        return generate_within_budget(engine, requests, self.sampling)


@dataclass(frozen=True)
class ChoiceLogprobs:
    """Read the log-probs with which a model would begin its answer with each of some choices.

    Args:
        choices: short texts that begin with different tokens.
    """

    choices: tuple[str, ...]

    @property
    def max_tokens(self) -> int:
        """Tokens that a model writes to give log-probs."""
        return 1  # the first token alone is weighed

    def describe(self, engine: Engine, request: Request) -> StoreQuery:
        """Return the row of the store that holds the log-probs."""
        return query_logprobs(engine, request, self.choices)

    def ask_stored(
        self, engine: Engine, pieces: Iterable[PendingPiece[Request]], store: AnswerStore
    ) -> Iterator[Finished[Any]]:
        """Read the log-probs of the requests of every piece through the store; queries as for `InWords`."""
        return weigh_pieces(engine, pieces, self.choices, store)

    def ask_directly(self, engine: Engine, requests: Sequence[Request]) -> Iterator[tuple[int, Any]]:
        """Read the log-probs of every request within the budget, without a store."""
        return weigh_within_budget(engine, requests, self.choices)


Reading = InWords | ChoiceLogprobs
"""A way to read a model: words, or log-probs of choices."""


class Inquiry:
    """All questions of one stage to one engine, in one round or several; it counts them and reports progress.

    Args:
        engine: the model; its ledger holds it to a budget.
        session: store, progress, and whether only stored replies are wanted.
        work: name and number of the questions of all rounds, as they are reported.
        watch: records the name under which a server replies.
        too_long: reason of a question that the model cannot see whole; None where the caller has left those out.
    """

    def __init__(
        self,
        engine: Engine,
        session: CallSession,
        work: WorkProgress,
        *,
        watch: Watch | None = None,
        too_long: str | None = None,
    ) -> None:
        self.engine = engine
        self.session = session
        self.work = work
        self.watch = watch
        self.too_long = too_long
        self._report()

    def ask(self, requests: Sequence[Request], reading: Reading) -> Iterator[list[tuple[int, Reply]]]:
        """Ask one round of questions; equal ones are asked once, failed ones again by the next call.

        Args:
            requests: the questions.
            reading: what is read of the model.

        Yields:
            (index of the request, reply), in batches as they come. Where the budget or the engine ends early, the
            remaining requests have no reply.
        """
        return self.ask_pieces([requests], reading)

    def ask_pieces(self, pieces: Iterable[Sequence[Request]], reading: Reading) -> Iterator[list[tuple[int, Reply]]]:
        """Ask one round of questions that come in pieces, each drawn when the engine gets to it.

        Args:
            pieces: the questions. Without a store all of them are held, since equal ones are found in no other way.
            reading: see `ask`.

        Yields:
            see `ask`; indices count over all pieces.
        """
        if self.session.store is None:
            # One piece: an equal question of an earlier one would be asked, and paid for, again.
            whole = [request for piece in pieces for request in piece]
            for piece in self._prepare([whole], reading):
                if piece.settled:
                    yield self._count(piece.settled, False)
                # Nothing is kept, so each answer is a batch of its own: progress moves with every one.
                for place, reply in reading.ask_directly(self.engine, [row.request for row in piece.rows]):
                    if self.watch is not None:
                        self.watch.look()
                    yield self._count([(at, reply) for at in piece.rows[place].indices], False)
            return
        # A generator: a piece is built when the engine gets to it, while calls of the one before are in flight.
        prepared = self._prepare(pieces, reading)
        if self.session.partial:
            for piece in prepared:
                yield from self._look_up(piece, self.session.store)
            return
        for batch in reading.ask_stored(self.engine, prepared, self.session.store):
            # A server may change the model behind its name at any call; stored replies say nothing new of it.
            if self.watch is not None and not batch.stored:
                self.watch.look()
            yield self._count(batch.results, batch.stored)

    def _prepare(self, pieces: Iterable[Sequence[Request]], reading: Reading) -> Iterator[PendingPiece[Request]]:
        """Look for equal questions, and for such as the model cannot see whole."""
        start = 0
        for requests in pieces:
            # Equal questions are one: they share a key. Without a store too, so that costs do not depend on it.
            piece = build_piece(
                (start + at, reading.describe(self.engine, request), request) for at, request in enumerate(requests)
            )
            start += len(requests)
            # What the model cannot see whole is not asked, and not stored: a larger context would answer it.
            # Lengths of a server's prompts are estimates: what passes here may be refused there, as a failure.
            if self.too_long is not None and piece.rows and (limit := self.engine.context) is not None:
                lengths = self.engine.prompt_tokens([row.request for row in piece.rows])
                fitting: list[PendingRow[Request]] = []
                marks: list[tuple[int, Reply]] = []
                for row, length in zip(piece.rows, lengths, strict=True):
                    if length + reading.max_tokens <= limit:
                        fitting.append(row)
                        continue
                    detail = f"{length:,} tokens and {reading.max_tokens:,}, at most {limit:,}"
                    marks += [(at, Unasked(self.too_long, detail)) for at in row.indices]
                piece = PendingPiece(fitting, marks)
            yield piece

    def _look_up(self, piece: PendingPiece[Request], store: AnswerStore) -> Iterator[list[tuple[int, Reply]]]:
        """Look answers up for a partial session. Another process may be writing the store meanwhile."""
        if piece.settled:
            yield self._count(piece.settled, False)
        answers = store.find_answers([row.query.key for row in piece.rows])
        stored: list[tuple[int, Reply]] = []
        for row in piece.rows:
            answer = answers.get(row.query.key)
            if answer is None or isinstance(answer, Failure):
                # A mark, not a failure: nothing went wrong, and a failure would be counted against the model.
                reply: Reply = Unasked(NOT_YET) if answer is None else answer
            else:
                reply = tuple(answer["logprobs"]) if "logprobs" in answer else Result(**answer)
            stored += [(at, reply) for at in row.indices]
        yield self._count(stored, True)

    def _count(self, replies: list[tuple[int, Reply]], stored: bool) -> list[tuple[int, Reply]]:
        failed = sum(isinstance(reply, Failure) for _, reply in replies)
        self.work = replace(
            self.work,
            done=self.work.done + len(replies),
            stored=self.work.stored + (len(replies) if stored else 0),
            failed=self.work.failed + failed,
        )
        self._report()
        return replies

    def _report(self) -> None:
        # The ledger, not this inquiry, knows the cost: failed calls cost as well.
        self.session.tell(replace(self.work, spent=self.engine.ledger.spent))
