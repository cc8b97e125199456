"""`evaluate`: completions and a judge in, verdicts and results out; stored verdicts are scored without a judge."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from prefboost.engines.engine import Engine, Failure, Request, Result, Sampling
from prefboost.engines.kinds import ENGINES, EngineSettings
from prefboost.engines.store import Store
from prefboost.engines.stored import generate_stored, logprobs_stored
from prefboost.errors import DataError
from prefboost.evaluation.benchmark import Benchmark, JudgeReply, JudgeRequest, JudgeVerdict
from prefboost.evaluation.own_prompts import read_completions, records_of
from prefboost.evaluation.prompt_means import prompt_means
from prefboost.evaluation.results import Results
from prefboost.reporting.evaluation_page import Scored, evaluation_markdown, evaluation_page
from prefboost.settings import Settings, choice
from prefboost.statistics import holm, paired_test

__all__ = [
    "Evaluating",
    "Forecast",
    "compared",
    "forecast",
    "judged",
    "read_completions",
    "read_verdicts",
    "write_evaluation",
]

Tell = Callable[[int, int], None]


class Evaluating(Settings):
    """Who judges."""

    judge: Annotated[EngineSettings, choice(ENGINES)] = Field(description="The model that judges.")


@dataclass(frozen=True)
class Forecast:
    """What judging would cost: calls (the same question is asked once), tokens read, and most tokens written."""

    calls: int
    prompt_tokens: int
    most_tokens: int


def judged(
    benchmark: Benchmark,
    requests: Sequence[JudgeRequest],
    engine: Engine,
    store: Store,
    *,
    tell: Tell = lambda done, wanted: None,
) -> list[JudgeVerdict]:
    """Ask the judge, taking from the store what it holds, and read its replies.

    Args:
        benchmark: reads the replies.
        requests: what is asked; requests with a known value or a fault make no call.
        engine: the judge.
        store: open; a call that is killed goes on from it with no answer asked twice.
        tell: is told how many are done, of how many.

    Returns:
        a verdict a request, in their order.

    Raises:
        ModelError: log-probs are wanted and the engine gives none.
    """
    replies: dict[int, JudgeReply] = {}
    wanted = sum(request.is_asked for request in requests)
    for numbers in _alike(requests):
        for index, reply in _replies([requests[at] for at in numbers], engine, store):
            replies[numbers[index]] = reply
            tell(len(replies), wanted)
    nothing = JudgeReply(fault="the judge was not asked: the budget is spent")
    made = [benchmark.parse(one, replies.get(at, nothing)) for at, one in enumerate(requests)]
    return [JudgeVerdict.of({**verdict.record, "judge": engine.identity}) for verdict in made]


def forecast(requests: Sequence[JudgeRequest], engine: Engine) -> Forecast:
    """What `judged` would ask, with an empty store.

    Args:
        requests: of a benchmark.
        engine: the judge; only its tokenizer is used.
    """
    asked = {engine.rendered(_request(one)): one for one in requests if one.is_asked}
    read = sum(engine.prompt_tokens([_request(one) for one in asked.values()]))
    return Forecast(len(asked), read, sum(one.max_tokens for one in asked.values()))


def read_verdicts(path: str | Path) -> list[JudgeVerdict]:
    """Stored verdicts: JSON lines as `write_evaluation` writes them.

    Raises:
        DataError: a line is no verdict.
    """
    return [JudgeVerdict.of(record) for record in records_of(path)]


def write_evaluation(out: str | Path, verdicts: Iterable[JudgeVerdict], results: Results) -> None:
    """Write verdicts.jsonl, results.json, results.md and results.html into a folder, each at once.

    Args:
        out: folder; made where it is absent.
        verdicts: of all requests.
        results: what came of them.
    """
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    scored = Scored(results, list(verdicts))
    lines = [json.dumps(verdict.record, ensure_ascii=False) for verdict in scored.verdicts]
    texts = {
        "verdicts.jsonl": "".join(f"{line}\n" for line in lines),
        "results.json": json.dumps(results.record(), indent=2, ensure_ascii=False) + "\n",
        "results.md": evaluation_markdown([scored]),
        "results.html": evaluation_page([scored]),
    }
    for name, text in texts.items():
        waiting = folder / f".{name}.partial"
        waiting.write_text(text, encoding="utf-8", errors="replace")
        waiting.replace(folder / name)


def compared(verdicts: Iterable[JudgeVerdict], others: Iterable[JudgeVerdict]) -> list[str]:
    """Every model of one evaluation against every one of another, prompt by prompt: Markdown lines.

    Args:
        verdicts: of the first evaluation.
        others: of the second, with the same prompts.

    Returns:
        a table: difference of mean values in hundredths with its interval, p-value after Holm, the smallest difference
        that such a comparison finds, and how many prompts only one side has.

    Raises:
        DataError: two models share no prompt.
    """
    one, other = prompt_means(verdicts), prompt_means(others)
    tests = {}
    for first in one:
        for second in other:
            shared = [uid for uid in one[first] if uid in other[second]]
            if not shared:
                raise DataError(f"{first} and {second} share no prompt", remedy="compare runs on the same prompts")
            test = paired_test([one[first][uid] for uid in shared], [other[second][uid] for uid in shared])
            tests[first, second] = (test, len(one[first].keys() ^ other[second].keys()))
    chances = holm({pair: test.chance for pair, (test, _) in tests.items()})
    lines = ["| first | second | difference | p (Holm) | detectable | prompts | on one side |", "|" + "---|" * 7]
    for (first, second), (test, alone) in tests.items():
        found = test.difference
        ends = f"{100 * found.estimate:+.2f} [{100 * found.low:+.2f}, {100 * found.high:+.2f}]"
        figures = f"{ends} | {chances[first, second]:.3f} | {100 * test.detectable:.2f}"
        lines.append(f"| {first} | {second} | {figures} | {found.rows} | {alone} |")
    return lines


def _alike(requests: Sequence[JudgeRequest]) -> list[list[int]]:
    """Numbers of requests that are asked, together where choices and sampling are the same."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for at, one in enumerate(requests):
        if one.is_asked:
            groups.setdefault((one.choices, one.max_tokens, one.temperature), []).append(at)
    return list(groups.values())


def _request(one: JudgeRequest) -> Request:
    return Request([{**message, "extra": None} for message in one.messages])


def _replies(requests: Sequence[JudgeRequest], engine: Engine, store: Store) -> Iterator[tuple[int, JudgeReply]]:
    asked = [_request(one) for one in requests]
    first = requests[0]
    if first.choices:
        for numbers in logprobs_stored(engine, asked, first.choices, store):
            for index, found in numbers.results:
                yield (
                    index,
                    JudgeReply(fault=found.reason) if isinstance(found, Failure) else JudgeReply(logprobs=found),
                )
        return
    sampling = Sampling(temperature=first.temperature, top_p=1.0, max_tokens=first.max_tokens)
    for texts in generate_stored(engine, asked, sampling, store):
        for index, outcome in texts.results:
            yield index, _worded(outcome)


def _worded(outcome: Result | Failure) -> JudgeReply:
    if isinstance(outcome, Failure):
        return JudgeReply(fault=outcome.reason)
    return JudgeReply(
        outcome.text, fault="the answer was cut at max_tokens" if outcome.finish_reason == "length" else ""
    )
