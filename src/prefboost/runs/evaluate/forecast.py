"""What `evaluate` would ask and what it would cost, without asking anything.

Calls are exact: whatever models will say, each prompt, turn and order is one. What a judge has to read depends on what
models have not said yet: there another model's completion of the same prompt stands in, and the forecast says so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefboost.engines.engine import Engine, Failure, Request, Sampling
from prefboost.engines.kinds import EngineSettings, model_name
from prefboost.engines.store.reuse import query_completion
from prefboost.engines.store.store import Store
from prefboost.errors import DataError
from prefboost.evaluation.benchmark import BenchmarkPrompt
from prefboost.evaluation.protocols import Completions, Contestant, JudgedBenchmark, PreparedBenchmark
from prefboost.runs.evaluate.answering import SamplingOf, Speaker, sampling_for, speaker
from prefboost.runs.evaluate.evaluate import Engines, check_judge, completions_of_files, price_for, store_in
from prefboost.runs.evaluate.judging import forecast, likely_prompt_tokens
from prefboost.runs.evaluate.settings import Evaluate, list_contestants

__all__ = ["ForecastLine", "forecast_evaluation"]

_LIKELY = 300
"""Words of a completion of which nothing is known; a benchmark's own completions have some 300."""


@dataclass(frozen=True)
class ForecastLine:
    """What one contestant, or the judge of one benchmark, would be asked.

    Args:
        benchmark: its name.
        who: the contestant, or judge.
        calls: answers to be had; attempts that fail come on top.
        stored: answers that are in the store already.
        prompt_tokens: read, over all calls.
        tokens: likely to be written.
        most_tokens: written if no answer ends before its limit.
        dollars: for what is read and likely to be written; None: the price table does not name the model.
        most_dollars: for what is read and at most written.
        estimated: prompts have no tokenizer that counts them, or hold completions that nobody has said yet.
        note: why this is no call forecast, or what it rests on.
        again: of the calls, those that failed or were refused in an earlier run.
    """

    benchmark: str
    who: str
    calls: int = 0
    stored: int = 0
    prompt_tokens: int = 0
    tokens: int = 0
    most_tokens: int = 0
    dollars: float | None = None
    most_dollars: float | None = None
    estimated: bool = False
    note: str = ""
    again: int = 0


def forecast_evaluation(settings: Evaluate, out: str | Path) -> list[ForecastLine]:
    """What `evaluate` would ask; loads tokenizers, and models only where there is a store to look into.

    Args:
        settings: see `evaluate`.
        out: the folder that would be written.

    Raises:
        SettingsError: as `evaluate` does.
    """
    contestants = list_contestants(settings)
    check_judge(settings)
    place = store_in(Path(out))
    with ExitStack() as stack:
        store = stack.enter_context(Store(place, retry=settings.retry, read_only=True)) if place.exists() else None
        plan = _Plan(settings, contestants, Engines(settings, None), store)
        return [line for benchmark in settings.benchmarks for line in plan.lines(benchmark)]


@dataclass
class _Plan:
    settings: Evaluate
    contestants: Sequence[Contestant]
    engines: Engines
    store: Store | None
    counted: set[str] = field(default_factory=set)
    judged: set[str] = field(default_factory=set)

    def lines(self, benchmark: object) -> list[ForecastLine]:
        if not isinstance(benchmark, JudgedBenchmark):
            kind = str(getattr(benchmark, "kind", benchmark))
            return [ForecastLine(kind, "no judge", note="measured on this machine: no calls are counted")]
        names = [*(one.name for one in self.contestants), *self.settings.file_names]
        prepared = benchmark.prepare(self.settings.assets, names)
        prompts = list(prepared.prompts[: self.settings.limit])
        said = {**prepared.given, **completions_of_files(self.settings.file_names, prompts)}
        lines = []
        likely = _StandIn(list(said.values()))
        guessed = False
        for one in self.contestants:
            line, said[one.name], known = self._contestant(benchmark.kind, one, prepared, prompts, likely)
            lines.append(line)
            guessed = guessed or not known
        return [*lines, self._judge(benchmark.kind, prepared, prompts, said, guessed)]

    def _contestant(
        self,
        kind: str,
        one: Contestant,
        prepared: PreparedBenchmark,
        prompts: Sequence[BenchmarkPrompt],
        likely: _StandIn,
    ) -> tuple[ForecastLine, Completions, bool]:
        engine = self.engines.opened(one.engine)
        who = speaker(one, engine)
        drawn = sampling_for(who, prepared.sampling, self.settings.answering, look=self.store is not None)
        rows = _Rows()
        for prompt in prompts:
            self._talk(who, prompt, drawn, likely, rows)
        known = not rows.left
        price = price_for(engine, one.engine, self.settings)
        read = likely_prompt_tokens(engine, [request for request, _ in rows.left])
        written = rows.mean_tokens(likely)
        tokens = sum(min(written, most) for _, most in rows.left)
        most = sum(most for _, most in rows.left)
        line = ForecastLine(
            kind, one.name, len(rows.left), rows.stored, read, tokens, most,
            price.dollars(read, tokens) if price else None, price.dollars(read, most) if price else None,
            bool(rows.left) and (_estimates(engine, one.engine) or any(len(one.turns) > 1 for one in prompts)),
            again=rows.again,
        )  # fmt: skip
        return line, rows.said, known

    def _talk(self, who: Speaker, prompt: BenchmarkPrompt, drawn: SamplingOf, likely: _StandIn, rows: _Rows) -> None:
        """One prompt's turns: what the store holds, or one more call with a stand-in for what it will say."""
        said: list[str] = []
        sampling = drawn(prompt)
        for _ in prompt.turns:
            try:
                request = who.request(prompt, said)
            except DataError:
                return
            known = self._known(who.engine, request, sampling)
            if isinstance(known, Failure):
                return
            if known is not None:
                rows.stored += 1
                rows.tokens.append(int(known["tokens"]))
                said.append(str(known["text"]))
                continue
            key = _question_key(who, request, sampling)
            if key not in self.counted:
                self.counted.add(key)
                rows.left.append((request, sampling.max_tokens))
                rows.again += self._failed(who.engine, request, sampling)
            said.append(likely.text(prompt.uid, len(said), who.contestant.name))
        rows.said[prompt.uid] = said

    def _known(self, engine: Engine, request: Request, sampling: Sampling) -> Mapping[str, Any] | Failure | None:
        if self.store is None:
            return None
        key = query_completion(engine, request, sampling).key
        return self.store.find_answers([key]).get(key)

    def _failed(self, engine: Engine, request: Request, sampling: Sampling) -> bool:
        """Whether a question failed in an earlier run."""
        return self.store is not None and bool(self.store.failures([query_completion(engine, request, sampling).key]))

    def _judge(
        self,
        kind: str,
        prepared: PreparedBenchmark,
        prompts: Sequence[BenchmarkPrompt],
        said: Mapping[str, Completions],
        guessed: bool,
    ) -> ForecastLine:
        assert self.settings.judge is not None
        judge = self.engines.opened(self.settings.judge)
        requests = prepared.benchmark.build(prompts, said)
        found = forecast(requests, judge, self.store, self.judged)
        price = price_for(judge, self.settings.judge, self.settings)
        dollars = price.dollars(found.prompt_tokens, found.most_tokens) if price else None
        note = "completions nobody has said yet are taken to be as long as others" if guessed and found.calls else ""
        return ForecastLine(
            kind, "judge", found.calls, found.stored, found.prompt_tokens, found.most_tokens, found.most_tokens,
            dollars, dollars, bool(found.calls) and (guessed or _estimates(judge, self.settings.judge)), note,
            again=found.again,
        )  # fmt: skip


@dataclass
class _Rows:
    """What a contestant was asked, and would be."""

    left: list[tuple[Request, int]] = field(default_factory=list)
    said: dict[str, Sequence[str]] = field(default_factory=dict)
    tokens: list[int] = field(default_factory=list)
    stored: int = 0
    again: int = 0

    def mean_tokens(self, likely: _StandIn) -> int:
        return round(sum(self.tokens) / len(self.tokens)) if self.tokens else likely.tokens


class _StandIn:
    """Completions in the place of those that nobody has said yet: another model's, else a text of common length.

    Each ends in a mark of its contestant: equal completions would tie without a call.
    """

    def __init__(self, known: Sequence[Completions]) -> None:
        self.known = known

    def text(self, uid: str, turn: int, name: str) -> str:
        others = (own[uid][turn] for own in self.known if len(own.get(uid, ())) > turn)
        mark = hashlib.sha256(f"{name}{turn}".encode()).hexdigest()[:4]
        return f"{next(others, 'word ' * _LIKELY)} {mark}"

    @property
    def tokens(self) -> int:
        texts = [text for own in self.known for said in own.values() for text in said]
        return round(sum(map(len, texts)) / len(texts) / 4.35) if texts else _LIKELY


def _question_key(who: Speaker, request: Request, sampling: Sampling) -> str:
    """Two contestants with the same weights are the same; without a store weights are not looked at."""
    if who.engine.remote:
        return query_completion(who.engine, request, sampling).key
    return json.dumps([model_name(who.contestant.engine), who.engine.render(request), sampling.model_dump()])


def _estimates(engine: Engine, settings: EngineSettings) -> bool:
    return engine.remote and getattr(settings, "tokenizer", None) is None
