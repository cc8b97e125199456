"""Forecast the calls, tokens and cost of `evaluate`, without asking anything.

Calls are exact: each prompt, turn and order is one, whatever the answers are. The tokens that a judge reads depend on
answers that do not exist yet: another model's completion of the same prompt stands in, and the forecast says so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefboost.engines.ask import InWords
from prefboost.engines.engine import Engine, Failure, Request, Sampling
from prefboost.engines.kinds import EngineSettings, model_name
from prefboost.engines.store.store import Store
from prefboost.errors import DataError
from prefboost.evaluation.benchmark import BenchmarkPrompt
from prefboost.evaluation.kinds import BenchmarkSettings
from prefboost.evaluation.protocols import Completions, Contestant, JudgedBenchmark, PreparedBenchmark
from prefboost.runs.evaluate.answering import Speaker, choose_sampling, open_speaker
from prefboost.runs.evaluate.evaluate import Engines, check_judge, locate_answers, price_for, read_files
from prefboost.runs.evaluate.judge_forecast import estimate_prompt_tokens, forecast_judging
from prefboost.runs.evaluate.settings import Evaluate, list_contestants

__all__ = ["ForecastLine", "forecast_evaluation"]

_LIKELY = 300
"""Words of an unknown completion; AlpacaEval's completions have about 300."""


@dataclass(frozen=True)
class ForecastLine:
    """Forecast for one contestant, or for the judge of one benchmark.

    Args:
        benchmark: kind of the benchmark.
        who: name of the contestant, or ``judge``.
        calls: answers to ask for; failed attempts come on top.
        stored: answers that the store holds.
        prompt_tokens: tokens to read, over all calls.
        tokens: tokens that are likely written.
        most_tokens: tokens written if no answer ends before its limit.
        dollars: price of ``prompt_tokens`` and ``tokens``; None: the price table does not name the model.
        most_dollars: price of ``prompt_tokens`` and ``most_tokens``.
        estimated: no tokenizer counts the prompts, or they contain completions that do not exist yet.
        note: reason why no calls are forecast, or what the forecast rests on.
        again: calls that failed or were refused in an earlier run.
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
    """Count what `evaluate` would ask; it loads tokenizers, and models only where there is a store.

    Args:
        settings: see `evaluate`.
        out: folder that would be written.

    Raises:
        SettingsError: see `evaluate`.
    """
    contestants = list_contestants(settings)
    check_judge(settings)
    place = locate_answers(Path(out))
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

    def lines(self, benchmark: BenchmarkSettings) -> list[ForecastLine]:
        if not isinstance(benchmark, JudgedBenchmark):
            return [ForecastLine(benchmark.kind, "no judge", note="measured on this machine: no calls are counted")]
        names = [*(contestant.name for contestant in self.contestants), *self.settings.file_names]
        prepared = benchmark.prepare(self.settings.assets, names)
        prompts = list(prepared.prompts[: self.settings.limit])
        completions = {**prepared.given, **read_files(self.settings.file_names, prompts)}
        lines = []
        stand_in = _StandIn(list(completions.values()))
        guessed = False
        for contestant in self.contestants:
            line, answers = self._forecast_contestant(benchmark.kind, contestant, prepared, prompts, stand_in)
            completions[contestant.name] = answers
            lines.append(line)
            guessed = guessed or line.calls > 0
        return [*lines, self._forecast_judge(benchmark.kind, prepared, prompts, completions, guessed)]

    def _forecast_contestant(
        self,
        kind: str,
        contestant: Contestant,
        prepared: PreparedBenchmark,
        prompts: Sequence[BenchmarkPrompt],
        stand_in: _StandIn,
    ) -> tuple[ForecastLine, Completions]:
        engine = self.engines.open(contestant.engine)
        speaker = open_speaker(contestant, engine)
        sampling = choose_sampling(speaker, prepared.sampling, self.settings.answering, look=self.store is not None)
        rows = _Rows()
        for prompt in prompts:
            self._walk_turns(speaker, prompt, sampling(prompt), stand_in, rows)
        price = price_for(engine, contestant.engine, self.settings)
        read = estimate_prompt_tokens(engine, [request for request, _ in rows.left])
        mean = rows.mean_tokens(stand_in)
        tokens = sum(min(mean, limit) for _, limit in rows.left)
        most = sum(limit for _, limit in rows.left)
        # Later turns contain the model's own answers, which do not exist yet.
        has_turns = any(len(prompt.turns) > 1 for prompt in prompts)
        line = ForecastLine(
            kind, contestant.name, len(rows.left), rows.stored, read, tokens, most,
            price.dollars(read, tokens) if price else None, price.dollars(read, most) if price else None,
            bool(rows.left) and (_has_no_tokenizer(engine, contestant.engine) or has_turns),
            again=rows.again,
        )  # fmt: skip
        return line, rows.answers

    def _walk_turns(
        self, speaker: Speaker, prompt: BenchmarkPrompt, sampling: Sampling, stand_in: _StandIn, rows: _Rows
    ) -> None:
        """Count the turns of a prompt: each has a stored answer, or is one more call with a stand-in for its answer."""
        answers: list[str] = []
        for _ in prompt.turns:
            try:
                request = speaker.build_request(prompt, answers)
            except DataError:
                return
            stored = self._find_stored(speaker.engine, request, sampling)
            if isinstance(stored, Failure):
                return
            if stored is not None:
                rows.stored += 1
                rows.tokens.append(int(stored["tokens"]))
                answers.append(str(stored["text"]))
                continue
            key = _build_question_key(speaker, request, sampling)
            if key not in self.counted:
                self.counted.add(key)
                rows.left.append((request, sampling.max_tokens))
                rows.again += self._has_failed(speaker.engine, request, sampling)
            answers.append(stand_in.write_text(prompt.uid, len(answers), speaker.contestant.name))
        rows.answers[prompt.uid] = answers

    def _find_stored(self, engine: Engine, request: Request, sampling: Sampling) -> Mapping[str, Any] | Failure | None:
        if self.store is None:
            return None
        key = InWords(sampling).describe(engine, request).key
        return self.store.find_answers([key]).get(key)

    def _has_failed(self, engine: Engine, request: Request, sampling: Sampling) -> bool:
        """Tell whether a question failed in an earlier run."""
        if self.store is None:
            return False
        return bool(self.store.failures([InWords(sampling).describe(engine, request).key]))

    def _forecast_judge(
        self,
        kind: str,
        prepared: PreparedBenchmark,
        prompts: Sequence[BenchmarkPrompt],
        completions: Mapping[str, Completions],
        guessed: bool,
    ) -> ForecastLine:
        assert self.settings.judge is not None
        judge = self.engines.open(self.settings.judge)
        requests = prepared.benchmark.build(prompts, completions)
        forecast = forecast_judging(requests, judge, self.store, self.judged)
        price = price_for(judge, self.settings.judge, self.settings)
        dollars = price.dollars(forecast.prompt_tokens, forecast.most_tokens) if price else None
        note = "completions nobody has said yet are taken to be as long as others" if guessed and forecast.calls else ""
        return ForecastLine(
            kind, "judge", forecast.calls, forecast.stored, forecast.prompt_tokens, forecast.most_tokens,
            forecast.most_tokens, dollars, dollars,
            bool(forecast.calls) and (guessed or _has_no_tokenizer(judge, self.settings.judge)), note,
            again=forecast.again,
        )  # fmt: skip


@dataclass
class _Rows:
    """Questions of a contestant: those left with the limit of their answers in tokens, and those with an answer."""

    left: list[tuple[Request, int]] = field(default_factory=list)
    answers: dict[str, Sequence[str]] = field(default_factory=dict)
    tokens: list[int] = field(default_factory=list)
    stored: int = 0
    again: int = 0

    def mean_tokens(self, stand_in: _StandIn) -> int:
        """Return the mean length of stored answers; without any, that of other models' completions."""
        return round(sum(self.tokens) / len(self.tokens)) if self.tokens else stand_in.tokens


class _StandIn:
    """Stand-ins for completions that do not exist yet: another model's, or a text of common length.

    Each ends in a mark of its contestant, since equal completions would tie without a call.
    """

    def __init__(self, completions: Sequence[Completions]) -> None:
        self.completions = completions

    def write_text(self, uid: str, turn: int, name: str) -> str:
        others = (answers[uid][turn] for answers in self.completions if len(answers.get(uid, ())) > turn)
        mark = hashlib.sha256(f"{name}{turn}".encode()).hexdigest()[:4]
        return f"{next(others, 'word ' * _LIKELY)} {mark}"

    @property
    def tokens(self) -> int:
        texts = [text for answers in self.completions for turns in answers.values() for text in turns]
        return round(sum(map(len, texts)) / len(texts) / 4.35) if texts else _LIKELY


def _build_question_key(speaker: Speaker, request: Request, sampling: Sampling) -> str:
    """Return a key under which equal questions count once.

    Without a store weights are not loaded, so two contestants with the same model name count as the same model.
    """
    if speaker.engine.remote:
        return InWords(sampling).describe(speaker.engine, request).key
    return json.dumps([model_name(speaker.contestant.engine), speaker.engine.render(request), sampling.model_dump()])


def _has_no_tokenizer(engine: Engine, settings: EngineSettings) -> bool:
    return engine.remote and getattr(settings, "tokenizer", None) is None
