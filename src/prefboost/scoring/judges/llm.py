"""The LLM judge: a language model compares two completions, shown in both orders."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from prefboost.chat import join_text
from prefboost.engines.call_session import CallSession
from prefboost.engines.engine import Request, Sampling
from prefboost.engines.kinds import ENGINES, EngineSettings
from prefboost.scoring.answers import MIN_MASS, Answer, Asking, Questions, Shares
from prefboost.scoring.fencing import NOTICE, conversation_block, fence, mark_of
from prefboost.scoring.judges.verdicts import ORDERS, Ruling, Rulings, check_pairs, verdict_of, verdicts_table
from prefboost.scoring.readings import Unreadable, read_verdict
from prefboost.settings import Settings, choice
from prefboost.tables import Table

__all__ = ["LlmJudge"]

CRITERIA = (
    "You compare two completions of a conversation as a careful and impartial expert. Weigh which of them does what "
    "was asked, is true, is honest about what it does not know, and is clear. Neither the order in which they are "
    "shown nor their length is a merit."
)
_PIECE_PAIRS = 5_000
"""Pairs whose questions are built at once; a question takes some kilobytes of memory."""

_VOTES = {"first": 1.0, "second": 0.0, "tie": 0.5}

Row = Mapping[str, Any]
"""A pair: prompt, chosen, rejected."""


class LlmJudge(Settings):
    """Asks a language model which of two completions is better, in both orders."""

    kind: Literal["llm"] = Field("llm", description="A language model that compares.")
    engine: Annotated[EngineSettings, choice(ENGINES)] = Field(description="The model that judges.")
    criteria: str = Field(CRITERIA, description="Criterion, in words; plain text, no template.")
    read: Literal["answer", "logprobs"] = Field(
        "answer",
        description="answer: the model writes a reason and its verdict; logprobs: the probabilities of the verdicts, "
        "where the engine gives log-probs of choices (as RLAIF and AlpacaEval 2 read them).",
    )
    ties: bool = Field(True, description="Let the model call it a tie.")
    tie_within: float = Field(
        0.0, ge=0.0, lt=0.5, description="Probabilities (or vote shares) of the first side this near to 0.5 are ties."
    )
    min_mass: float = Field(
        MIN_MASS,
        ge=0.0,
        le=1.0,
        description="read: logprobs: least probability of all verdicts together; a verdict of less is unreadable, "
        "since the model would have said something else. Our own choice.",
    )
    samples: int = Field(1, ge=1, description="Answers an order, whose votes are counted; needs a temperature.")
    sampling: Sampling = Field(Sampling(temperature=0.0, top_p=1.0, max_tokens=512), description="Sampling of answers.")

    @model_validator(mode="after")
    def _counts_something(self) -> LlmJudge:
        if self.samples > 1 and (self.sampling.temperature == 0 or self.read == "logprobs"):
            raise ValueError("samples above 1 need read: answer and sampling.temperature above 0, or all are the same")
        return self

    def judge(self, table: Table) -> Table:
        """See `prefboost.scoring.judges.judge.Judge`.

        Raises:
            DataError: the table holds no pairs, or none could be judged.
            ModelError: the engine cannot do what ``read`` asks for.
        """
        return self.judge_stored(table, CallSession())

    def judge_stored(self, table: Table, session: CallSession) -> Table:
        """Judge within a session: what its store holds is not asked again."""
        check_pairs(table)
        engine = session.open_engine(self.engine)
        asking = Asking(engine, self.sampling, session)
        rulings, orders = Rulings(len(table)), list(ORDERS)
        starts = range(0, len(table), _PIECE_PAIRS)
        pieces = (self._take_questions(table, at, min(at + _PIECE_PAIRS, len(table))) for at in starts)
        total = len(orders) * len(table) * self.samples
        if self.read == "logprobs":
            for at, shares in asking.stream_shares(pieces, total, self.verdict_names, self.min_mass):
                rulings[at // len(orders), orders[at % len(orders)]] = self.weigh_shares(shares)
        else:
            # Samples of a question of which some have not come yet.
            votes: dict[int, dict[int, Answer]] = {}
            for at, answer in asking.stream_answers(pieces, total):
                question, sample = divmod(at, self.samples)
                votes.setdefault(question, {})[sample] = answer
                if len(votes[question]) == self.samples:
                    answers = votes.pop(question)
                    ruling = self.count_votes([answers[each] for each in range(self.samples)])
                    rulings[question // len(orders), orders[question % len(orders)]] = ruling
        notes = {"questions": total}
        return verdicts_table(table, rulings, engine.identity, self.model_dump(mode="json"), notes)

    def questions(self, table: Table) -> list[Request]:
        """List the questions: pair by pair, both orders, every sample."""
        return self._take_questions(table, 0, len(table))

    def _take_questions(self, table: Table, start: int, stop: int) -> list[Request]:
        pairs = table.take(range(start, stop), ["prompt", "chosen", "rejected"])
        ending, schema = self._build_ending()
        return [
            Request(_build_messages(self.criteria, row, first, ending), sample, json_schema=schema)
            for row in pairs.iter_rows(named=True)
            for first in ORDERS
            for sample in range(self.samples)
        ]

    def asks(self, table: Table) -> Questions:
        """List the questions with the engine and its sampling (for an estimate of tokens and cost)."""
        choices = self.verdict_names if self.read == "logprobs" else None
        return Questions(self.engine, self.questions(table), self.sampling, choices)

    def _build_ending(self) -> tuple[str, str | None]:
        """Build the ending of a question, and the JSON schema of its answer."""
        named = " or ".join(f'"{verdict}"' for verdict in self.verdict_names)
        if self.read == "logprobs":
            return f"Which completion is better? Answer with {named} and nothing else.", None
        fields = {"reason": {"type": "string"}, "verdict": {"type": "string", "enum": self.verdict_names}}
        schema = {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
        return (
            "Which completion is better? Answer with one JSON object and nothing behind it:\n"
            f'{{"reason": "ONE OR TWO SENTENCES", "verdict": {named}}}',
            json.dumps(schema),
        )

    @property
    def verdict_names(self) -> list[str]:
        """The words that an answer may give as its verdict."""
        return ["1", "2", *(["tie"] if self.ties else [])]

    def count_votes(self, answers: Sequence[Answer]) -> Ruling:
        """Decide by the share of votes; the rationale is that of a vote with the result.

        Args:
            answers: every sample about one pair in one order; those that cannot be read have no vote.

        Returns:
            a ruling, whose fault is that of the first answer where none can be read.
        """
        read = [
            Unreadable(answer.fault) if answer.fault else read_verdict(answer.text, ties=self.ties)
            for answer in answers
        ]
        votes = [(_VOTES[verdict[0]], verdict[1]) for verdict in read if not isinstance(verdict, Unreadable)]
        if not votes:
            reason = next(verdict.reason for verdict in read if isinstance(verdict, Unreadable))
            return Ruling(fault=(reason, answers[0].text))
        share = sum(vote for vote, _ in votes) / len(votes)
        # The vote nearest to the share agrees with the outcome, so its reason is one for it.
        return Ruling(verdict_of(share, self.tie_within), share, min(votes, key=lambda vote: abs(vote[0] - share))[1])

    def weigh_shares(self, shares: Shares) -> Ruling:
        """Decide by P(first) + P(tie) / 2, from the shares of `verdict_names`."""
        if shares.fault is not None:
            return Ruling(fault=(shares.fault, shares.found))
        first_wins = shares.of[0] + sum(shares.of[2:]) / 2
        return Ruling(verdict_of(first_wins, self.tie_within), first_wins, label_mass=min(shares.mass, 1.0))


def _build_messages(criteria: str, row: Row, first: str, ending: str) -> list[dict[str, Any]]:
    """Build the messages for one order. Both orders have the same mark, and differ in nothing but the order."""
    texts = [join_text(row[side]) for side in ORDERS[first]]
    mark = mark_of([join_text(row["prompt"]), *sorted(texts)])
    fences = [fence(text, f"completion {at}", mark) for at, text in enumerate(texts, 1)]
    parts = [criteria, NOTICE.format(mark=mark), conversation_block(row["prompt"], mark), *fences, ending]
    return [{"role": "user", "content": "\n\n".join(parts), "extra": None}]
