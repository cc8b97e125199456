"""Let models answer a benchmark's prompts through the store, turn by turn, and check that their goal is said."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from prefboost.chat import format_number, goal_text
from prefboost.engines.ask import Inquiry, InWords, Reply, Unasked
from prefboost.engines.call_session import CallSession
from prefboost.engines.engine import Engine, Failure, Request, Result, Sampling
from prefboost.engines.goal_requests import Ask, asker
from prefboost.engines.store.interface import AnswerStore
from prefboost.errors import DataError, ModelError, RunError
from prefboost.evaluation.benchmark import BenchmarkPrompt
from prefboost.evaluation.protocols import Contestant
from prefboost.progress import Tell, WorkProgress
from prefboost.runs.evaluate.settings import Answering

__all__ = [
    "ContestantAnswers",
    "SamplingOf",
    "Speaker",
    "answer_prompts",
    "choose_sampling",
    "explain_unfinished",
    "open_speaker",
]

THOUGHTS_ALONE = "the model thought and gave no answer; raise max_tokens"
TOO_LONG = "the prompt and max_tokens exceed the model's context"
"""Faults of prompts without a completion."""

SamplingOf = Callable[[BenchmarkPrompt], Sampling]
"""prompt -> sampling of its completions."""


@dataclass(frozen=True)
class Speaker:
    """A contestant with its open engine.

    Args:
        contestant: model and goal.
        engine: open engine of the model.
        ask: (messages, goal, sample) -> request.
    """

    contestant: Contestant
    engine: Engine
    ask: Ask

    @property
    def goal_text(self) -> str | None:
        """Text that says the goal; None without a goal, or where the chat template says it in its own words."""
        goal = self.contestant.goal
        return None if goal is None or self.engine.says_goals else goal_text(self.contestant.say, goal)

    def build_request(self, prompt: BenchmarkPrompt, answers: Sequence[str] = ()) -> Request:
        """Build the request for the next turn of a prompt, and check that it says the goal.

        Args:
            prompt: prompt with more turns than there are answers.
            answers: the model's answers to the earlier turns.

        Raises:
            DataError: the goal cannot be said in this prompt, or the chat template refuses it.
            ModelError: the goal does not stand in the rendered prompt.
        """
        turns: list[dict[str, Any]] = [{**message, "extra": None} for message in prompt.before]
        for at, text in enumerate(prompt.turns[: len(answers) + 1]):
            turns.append({"role": "user", "content": text, "extra": None})
            turns += [{"role": "assistant", "content": answer, "extra": None} for answer in answers[at : at + 1]]
        request = self.ask(turns, self.contestant.goal, 0)
        try:
            rendered = self.engine.render(request)
        except ModelError as error:
            raise DataError(f"the chat template refuses the prompt: {error.message}") from error
        if self.contestant.goal is not None and not self._says_goal(request, rendered):
            raise ModelError(
                f"the goal of {self.contestant.name} is not in the rendered prompt of {prompt.uid[:60]!r}",
                remedy="its chat template drops it: set condition.place to auto, user or after",
            )
        return request

    def _says_goal(self, request: Request, rendered: str) -> bool:
        text = self.goal_text
        if text is not None:
            plain = text.strip()
            # Servers are sent messages as JSON, in which the text is escaped.
            escaped = [json.dumps(plain, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)]
            return any(form in rendered for form in (plain, *escaped))
        # A template that says goals itself words them as it likes: the number must come with the goal.
        goal = self.contestant.goal or 0.0
        silent = self.engine.render(Request(request.prompt, request.sample, False))
        numbers = {format_number(goal, decimals) for decimals in range(7)}
        return rendered != silent and any(rendered.count(number) > silent.count(number) for number in numbers)


@dataclass(frozen=True)
class ContestantAnswers:
    """Answers of a contestant to a benchmark's prompts.

    Args:
        completions: uid -> completion of every turn; prompts with a missing turn are absent.
        faults: uid -> reason why there is none.
        cut: number of completions that ended at ``max_tokens``.
        tokens: tokens written over all turns.
    """

    completions: dict[str, tuple[str, ...]]
    faults: dict[str, str]
    cut: int = 0
    tokens: int = 0

    @property
    def record(self) -> dict[str, Any]:
        """Counts for the results."""
        reasons = Counter(self.faults.values())
        return {
            "completions": len(self.completions), "missing": len(self.faults), "reasons": dict(reasons),
            "cut at max_tokens": self.cut, "tokens": self.tokens,
        }  # fmt: skip


@dataclass
class _Conversations:
    """All conversations, as far as they have come."""

    answers: dict[str, list[str]]
    faults: dict[str, str] = field(default_factory=dict)
    cut: int = 0
    tokens: int = 0

    def add(self, uid: str, reply: Reply) -> None:
        """Add an answer; a conversation with a fault is not continued."""
        if isinstance(reply, Unasked | Failure):
            self.faults[uid] = reply.reason
            return
        assert isinstance(reply, Result)
        if reply.only_thinks:
            self.faults[uid] = THOUGHTS_ALONE
        self.answers[uid].append(reply.text)
        self.cut += reply.finish_reason == "length"
        self.tokens += reply.tokens


def open_speaker(contestant: Contestant, engine: Engine) -> Speaker:
    """Prepare a contestant for questions.

    Raises:
        ModelError: the goal is to stand in the system message, and the model's chat template drops or refuses those.
    """
    try:
        return Speaker(contestant, engine, asker(engine, contestant.say))
    except ModelError as error:
        raise ModelError(f"{contestant.name}: {error.message}", remedy=error.remedy) from error


def answer_prompts(
    speaker: Speaker,
    prompts: Sequence[BenchmarkPrompt],
    sampling: SamplingOf,
    store: AnswerStore,
    *,
    tell: Tell = lambda _: None,
) -> ContestantAnswers:
    """Complete every turn of every prompt.

    Args:
        speaker: the model, and the goal that it is asked for.
        prompts: prompts of a benchmark.
        sampling: prompt -> sampling.
        store: open store. Completions that it holds are not asked for; after a kill the same call resumes from it, and
            its rows equal those of an uninterrupted call.
        tell: is called with the progress after every batch.

    Raises:
        ModelError: the model cannot be loaded or reached, or a goal is not said.
        RunError: the budget is spent; completions that came stay in the store.
    """
    conversations = _Conversations({prompt.uid: [] for prompt in prompts})
    turns, name = sum(len(prompt.turns) for prompt in prompts), speaker.contestant.name
    inquiry = Inquiry(speaker.engine, CallSession(store, tell=tell), WorkProgress(name, turns), too_long=TOO_LONG)
    # Turn by turn over all prompts: a turn needs the answer to the one before, and an engine wants large batches.
    for turn in range(max((len(prompt.turns) for prompt in prompts), default=0)):
        open_prompts = [p for p in prompts if len(p.turns) > turn and p.uid not in conversations.faults]
        groups: dict[str, list[BenchmarkPrompt]] = {}
        for prompt in open_prompts:
            groups.setdefault(sampling(prompt).model_dump_json(), []).append(prompt)
        for group in groups.values():
            questions = _build_requests(speaker, group, conversations)
            replies = 0
            for batch in inquiry.ask([request for _, request in questions], InWords(sampling(group[0]))):
                replies += len(batch)
                for index, reply in batch:
                    conversations.add(questions[index][0], reply)
            if replies < len(questions):
                raise explain_unfinished(speaker.engine, name, inquiry.work.done, turns)
    finished = conversations.answers.items()
    completions = {uid: tuple(answers) for uid, answers in finished if uid not in conversations.faults}
    return ContestantAnswers(completions, conversations.faults, conversations.cut, conversations.tokens)


def choose_sampling(speaker: Speaker, sampling: SamplingOf, answering: Answering, *, look: bool = True) -> SamplingOf:
    """Choose the sampling of a contestant's completions.

    Args:
        speaker: the model. One with a small context writes at most half of it, where ``max_tokens`` is not set.
        sampling: the benchmark's sampling.
        answering: settings that replace it.
        look: read the size of the context, for which the model's configuration is loaded.
    """
    context = speaker.engine.context if look and answering.max_tokens is None else None
    most = None if context is None else max(1, context // 2)

    def choose(prompt: BenchmarkPrompt) -> Sampling:
        chosen = answering.over(sampling(prompt))
        return chosen if most is None else chosen.model_copy(update={"max_tokens": min(chosen.max_tokens, most)})

    return choose


def explain_unfinished(engine: Engine, name: str, done: int, questions: int) -> RunError:
    """Build the error of a call that cannot continue: the budget is spent, or the engine gave too few answers.

    Args:
        engine: the engine.
        name: name of the model, for the message.
        done: number of answers.
        questions: number of questions.
    """
    why = "the budget is spent" if engine.ledger.exhausted else "the engine ended early"
    remedy = "raise the budget and run" if engine.ledger.exhausted else "run"
    return RunError(
        f"{why}: {name} has {done:,} of {questions:,} answers; they stay in the store",
        remedy=f"{remedy} the same command again",
    )


def _build_requests(
    speaker: Speaker, prompts: Sequence[BenchmarkPrompt], conversations: _Conversations
) -> list[tuple[str, Request]]:
    """Build uid and request of every prompt; one that cannot be asked gets a fault instead."""
    requests = []
    for prompt in prompts:
        try:
            requests.append((prompt.uid, speaker.build_request(prompt, conversations.answers[prompt.uid])))
        except DataError as error:
            conversations.faults[prompt.uid] = error.message
    return requests
