"""Models answer a benchmark's prompts through the store, turn by turn, for a goal that is seen to be said."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from prefboost.chat import format_number, goal_text
from prefboost.engines.asking import Ask, asker
from prefboost.engines.engine import Engine, Failure, Request, Result, Sampling
from prefboost.engines.store.reuse import generate_stored
from prefboost.engines.store.store import Store
from prefboost.errors import DataError, ModelError, RunError
from prefboost.evaluation.benchmark import BenchmarkPrompt
from prefboost.evaluation.protocols import Contestant
from prefboost.progress import Tell, WorkProgress
from prefboost.runs.evaluate.settings import Answering

__all__ = ["Answered", "Speaker", "answered", "sampling_for", "speaker", "unfinished"]

THOUGHTS_ALONE = "the model thought and gave no answer; raise max_tokens"
"""Why a prompt has no completion: its thoughts are none."""

SamplingOf = Callable[[BenchmarkPrompt], Sampling]


@dataclass(frozen=True)
class Speaker:
    """A contestant with its engine.

    Args:
        contestant: model and goal.
        engine: open.
        ask: (messages, goal, sample) -> request.
    """

    contestant: Contestant
    engine: Engine
    ask: Ask

    @property
    def goal_text(self) -> str | None:
        """What is said for the goal; None without a goal, or where the chat template says it in its own words."""
        goal = self.contestant.goal
        return None if goal is None or self.engine.says_goals else goal_text(self.contestant.say, goal)

    def request(self, prompt: BenchmarkPrompt, said: Sequence[str] = ()) -> Request:
        """The next turn of a prompt.

        Args:
            prompt: of more turns than were answered.
            said: what the model said in its earlier turns.

        Raises:
            DataError: the goal cannot be said in this prompt, or the chat template refuses it.
            ModelError: the goal does not stand in the rendered prompt.
        """
        turns: list[dict[str, Any]] = [{**message, "extra": None} for message in prompt.before]
        for at, text in enumerate(prompt.turns[: len(said) + 1]):
            turns.append({"role": "user", "content": text, "extra": None})
            turns += [{"role": "assistant", "content": one, "extra": None} for one in said[at : at + 1]]
        request = self.ask(turns, self.contestant.goal, 0)
        try:
            rendered = self.engine.render(request)
        except ModelError as error:
            raise DataError(f"the chat template refuses the prompt: {error.found}") from error
        if self.contestant.goal is not None and not self._is_said(request, rendered):
            raise ModelError(
                f"the goal of {self.contestant.name} does not stand in the rendered prompt of {prompt.uid[:60]!r}",
                remedy="its chat template drops what it is given: set condition.place to auto, user or after",
            )
        return request

    def _is_said(self, request: Request, rendered: str) -> bool:
        """Whether the goal's text is there; of a template that says goals itself, whether the number came with it."""
        text = self.goal_text
        if text is not None:
            plain = text.strip()
            return any(one in rendered for one in (plain, _inside_json(plain, True), _inside_json(plain, False)))
        goal = self.contestant.goal or 0.0
        silent = self.engine.render(Request(request.prompt, request.sample, False))
        numbers = {format_number(goal, decimals) for decimals in range(7)}
        return rendered != silent and any(rendered.count(one) > silent.count(one) for one in numbers)


@dataclass(frozen=True)
class Answered:
    """What a contestant said.

    Args:
        completions: uid -> what it said in every turn; a prompt of which a turn is missing has none.
        faults: uid -> why there is none.
        cut: completions that ended at ``max_tokens``.
        tokens: written, over all turns.
    """

    completions: dict[str, tuple[str, ...]]
    faults: dict[str, str]
    cut: int = 0
    tokens: int = 0

    @property
    def record(self) -> dict[str, Any]:
        """Counts, for results."""
        reasons = Counter(self.faults.values())
        return {
            "completions": len(self.completions), "missing": len(self.faults), "reasons": dict(reasons),
            "cut at max_tokens": self.cut, "tokens": self.tokens,
        }  # fmt: skip


@dataclass
class _Talk:
    """How far the conversations are."""

    said: dict[str, list[str]] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    cut: int = 0
    tokens: int = 0
    done: int = 0
    stored: int = 0

    def take(self, rows: Sequence[tuple[str, Result | Failure]], stored: bool) -> None:
        """Rows that have come; what fails in one turn is not asked in the next."""
        self.done += len(rows)
        self.stored += len(rows) if stored else 0
        for uid, outcome in rows:
            if isinstance(outcome, Failure):
                self.faults[uid] = outcome.reason
                continue
            if outcome.only_thinks:
                self.faults[uid] = THOUGHTS_ALONE
            self.said[uid].append(outcome.text)
            self.cut += outcome.finish_reason == "length"
            self.tokens += outcome.tokens


def speaker(contestant: Contestant, engine: Engine) -> Speaker:
    """A contestant that can be asked.

    Raises:
        ModelError: the goal is to stand in the system message, and the model's chat template drops or refuses those.
    """
    try:
        return Speaker(contestant, engine, asker(engine, contestant.say))
    except ModelError as error:
        raise ModelError(f"{contestant.name}: {error.found}", remedy=error.remedy) from error


def answered(
    who: Speaker,
    prompts: Sequence[BenchmarkPrompt],
    sampling: SamplingOf,
    store: Store,
    *,
    tell: Tell = lambda _: None,
) -> Answered:
    """Complete every turn of every prompt, taking from the store what it holds.

    Args:
        who: the model, and the goal that it is asked for.
        prompts: of a benchmark.
        sampling: of each prompt.
        store: open; a call that is killed goes on from it, and its rows equal an undisturbed one's.
        tell: is told how far it is.

    Raises:
        ModelError: the model cannot be loaded or reached, or a goal is not said.
        RunError: the budget is spent; what is done stays in the store.
    """
    talk = _Talk({prompt.uid: [] for prompt in prompts})
    turns, name = sum(len(prompt.turns) for prompt in prompts), who.contestant.name
    tell(WorkProgress(name, turns))
    for turn in range(max((len(prompt.turns) for prompt in prompts), default=0)):
        wanted = [prompt for prompt in prompts if len(prompt.turns) > turn and prompt.uid not in talk.faults]
        for drawn, rows in _alike(wanted, sampling):
            asked = _askable(who, rows, drawn, talk)
            before = len(asked) + talk.done
            for batch in generate_stored(who.engine, [request for _, request in asked], drawn, store):
                talk.take([(asked[index][0].uid, outcome) for index, outcome in batch.results], batch.stored)
                tell(WorkProgress(name, turns, talk.done, talk.stored, who.engine.ledger.spent))
            if talk.done < before:
                raise unfinished(who.engine, name, talk.done, turns)
    completions = {uid: tuple(said) for uid, said in talk.said.items() if uid not in talk.faults}
    return Answered(completions, talk.faults, talk.cut, talk.tokens)


def sampling_for(who: Speaker, own: SamplingOf, answering: Answering, *, look: bool = True) -> SamplingOf:
    """How a contestant's completions are drawn.

    Args:
        who: a model that sees few tokens gets no more than half of them to write, where nobody set ``max_tokens``.
        own: the benchmark's.
        answering: what is set in its place.
        look: look at how much the model sees, for which its configuration has to be loaded.
    """
    context = who.engine.context if look and answering.max_tokens is None else None
    most = None if context is None else max(1, context // 2)

    def drawn(prompt: BenchmarkPrompt) -> Sampling:
        found = answering.over(own(prompt))
        return found if most is None else found.model_copy(update={"max_tokens": min(found.max_tokens, most)})

    return drawn


def unfinished(engine: Engine, name: str, done: int, wanted: int) -> RunError:
    """What a call ends with that cannot go on: the budget is spent, or the engine gave fewer answers than it was asked.

    Args:
        engine: that was asked.
        name: who answers, for the message.
        done: answers there are.
        wanted: answers asked for.
    """
    why = "the budget is spent" if engine.ledger.exhausted else "the engine ended early"
    remedy = "raise the budget and run" if engine.ledger.exhausted else "run"
    return RunError(
        f"{why}: {name} has {done:,} of {wanted:,} answers; they stay in the store",
        remedy=f"{remedy} the same command again",
    )


def _alike(
    prompts: Sequence[BenchmarkPrompt], sampling: SamplingOf
) -> Iterator[tuple[Sampling, list[BenchmarkPrompt]]]:
    """Prompts together that are drawn alike."""
    groups: dict[str, tuple[Sampling, list[BenchmarkPrompt]]] = {}
    for prompt in prompts:
        drawn = sampling(prompt)
        groups.setdefault(drawn.model_dump_json(), (drawn, []))[1].append(prompt)
    yield from groups.values()


def _askable(
    who: Speaker, prompts: Sequence[BenchmarkPrompt], drawn: Sampling, talk: _Talk
) -> list[tuple[BenchmarkPrompt, Request]]:
    """Prompts with what is asked; those that cannot be asked become faults."""
    found = []
    for prompt in prompts:
        try:
            found.append((prompt, who.request(prompt, talk.said[prompt.uid])))
        except DataError as error:
            talk.faults[prompt.uid] = error.found
    context = who.engine.context
    if context is None or not found:
        return found
    lengths = who.engine.prompt_tokens([request for _, request in found])
    fits = [length + drawn.max_tokens <= context for length in lengths]
    for (prompt, _), fit in zip(found, fits, strict=True):
        if not fit:
            talk.faults[prompt.uid] = "the prompt and max_tokens exceed the model's context"
    return [row for row, fit in zip(found, fits, strict=True) if fit]


def _inside_json(text: str, ascii_alone: bool) -> str:
    """As it stands in a JSON string: servers are sent messages, not a rendered prompt."""
    return json.dumps(text, ensure_ascii=ascii_alone)[1:-1]
