"""Forecast the calls, tokens and cost of `evaluate`, without asking anything.

Calls are exact: each prompt, turn and order is one, whatever the answers are. The tokens that a judge reads depend on
answers that do not exist yet: another model's completion of the same prompt stands in, and the forecast says so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from prefboost.engines.ask import InWords
from prefboost.engines.engine import Engine, Failure, Request, Sampling
from prefboost.engines.kinds import EngineSettings, model_name
from prefboost.engines.store.interface import AnswerStore
from prefboost.engines.store.opening import has_store, open_store
from prefboost.errors import DataError
from prefboost.evaluation.benchmark import BenchmarkPrompt
from prefboost.evaluation.kinds import BenchmarkSettings
from prefboost.evaluation.protocols import CheckedBenchmark, Completions, Contestant, JudgedBenchmark, PreparedBenchmark
from prefboost.forecast import CallForecast, Forecast
from prefboost.runs.evaluate.answering import Speaker, choose_sampling, open_speaker
from prefboost.runs.evaluate.evaluate import Engines, check_judge, place_answers, price_for, read_files
from prefboost.runs.evaluate.judge_forecast import estimate_prompt_tokens, forecast_judging
from prefboost.runs.evaluate.settings import Evaluate, list_contestants

__all__ = ["forecast_evaluation"]

_LIKELY = 300
"""Words of an unknown completion; AlpacaEval's completions have about 300."""


def forecast_evaluation(settings: Evaluate, out: str | Path, *, store: str | Path | None = None) -> Forecast:
    """Count what `evaluate` would ask; it loads tokenizers, and models only where there is a store.

    Args:
        settings: see `evaluate`.
        out: folder that would be written.
        store: see `evaluate`.

    Raises:
        SettingsError: see `evaluate`.
    """
    contestants = list_contestants(settings)
    check_judge(settings)
    place = place_answers(Path(out), store)
    with ExitStack() as stack:
        opened = open_store(place, retry=settings.retry, read_only=True) if has_store(place) else None
        answers = None if opened is None else stack.enter_context(opened)
        counter = _Counter(settings, contestants, Engines(settings, None), answers)
        parts = [part for benchmark in settings.benchmarks for part in counter.count_benchmark(benchmark)]
    return Forecast(total=sum(parts, CallForecast()), parts=parts)


@dataclass
class _Counter:
    """Counts calls; what several benchmarks or contestants would ask alike counts once."""

    settings: Evaluate
    contestants: Sequence[Contestant]
    engines: Engines
    store: AnswerStore | None
    counted: set[str] = field(default_factory=set)
    judged: set[str] = field(default_factory=set)

    def count_benchmark(self, benchmark: BenchmarkSettings) -> Iterator[CallForecast]:
        """Yield a forecast per contestant, and one for the judge."""
        if isinstance(benchmark, CheckedBenchmark):
            benchmark.check_contestants(self.contestants)
        if not isinstance(benchmark, JudgedBenchmark):
            note = "measured on this machine: no calls are counted"
            yield CallForecast(f"{benchmark.kind}, no judge", note=note)
            return
        names = [*(contestant.name for contestant in self.contestants), *self.settings.file_names]
        prepared = benchmark.prepare(self.settings.assets, names)
        prompts = list(prepared.prompts[: self.settings.limit])
        completions = {**prepared.given, **read_files(self.settings.file_names, prompts)}
        stand_in = _StandIn(list(completions.values()))
        guessed = False
        for contestant in self.contestants:
            calls, completions[contestant.name] = self._count_answers(contestant, prepared, prompts, stand_in)
            guessed = guessed or calls.calls > 0
            yield replace(calls, name=f"{benchmark.kind}, {contestant.name}")
        assert self.settings.judge is not None
        judge = self.engines.open(self.settings.judge)
        judging = forecast_judging(prepared.benchmark.build(prompts, completions), judge, self.store, self.judged)
        price = price_for(judge, self.settings.judge, self.settings)
        dollars = price.dollars(judging.prompt_tokens, judging.most_tokens) if price else None
        note = "completions nobody has said yet are taken to be as long as others" if guessed and judging.calls else ""
        yield replace(
            judging,
            name=f"{benchmark.kind}, judge",
            # A judge's answer is as long as its form demands.
            likely_tokens=judging.most_tokens,
            likely_dollars=dollars,
            most_dollars=dollars,
            estimated=bool(judging.calls) and (guessed or _has_no_tokenizer(judge, self.settings.judge)),
            note=note,
        )

    def _count_answers(
        self,
        contestant: Contestant,
        prepared: PreparedBenchmark,
        prompts: Sequence[BenchmarkPrompt],
        stand_in: _StandIn,
    ) -> tuple[CallForecast, Completions]:
        """Count a contestant's calls; a stand-in takes the place of every completion that does not exist yet."""
        engine = self.engines.open(contestant.engine)
        speaker = open_speaker(contestant, engine)
        sampling = choose_sampling(speaker, prepared.sampling, self.settings.answering, look=self.store is not None)
        rows = _Rows()
        for prompt in prompts:
            self._walk_turns(speaker, prompt, sampling(prompt), stand_in, rows)
        price = price_for(engine, contestant.engine, self.settings)
        read = estimate_prompt_tokens(engine, [request for request, _ in rows.left])
        mean = round(sum(rows.tokens) / len(rows.tokens)) if rows.tokens else stand_in.tokens
        likely = sum(min(mean, limit) for _, limit in rows.left)
        most = sum(limit for _, limit in rows.left)
        # Later turns contain the model's own answers, which do not exist yet.
        has_turns = any(len(prompt.turns) > 1 for prompt in prompts)
        calls = CallForecast(
            calls=len(rows.left),
            stored=rows.stored,
            again=rows.again,
            refused=rows.refused,
            prompt_tokens=read,
            likely_tokens=likely,
            most_tokens=most,
            likely_dollars=price.dollars(read, likely) if price else None,
            most_dollars=price.dollars(read, most) if price else None,
            estimated=bool(rows.left) and (_has_no_tokenizer(engine, contestant.engine) or has_turns),
        )
        return calls, rows.answers

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
            stored, failed = None, False
            if self.store is not None:
                key = InWords(sampling).describe(speaker.engine, request).key
                stored, failed = self.store.find_answers([key]).get(key), bool(self.store.failures([key]))
            if isinstance(stored, Failure):
                # Not asked again, and no stand-in: the judge is not asked about an answer that will not come.
                rows.stored += 1
                rows.refused += 1
                return
            if stored is not None:
                rows.stored += 1
                rows.tokens.append(int(stored["tokens"]))
                answers.append(str(stored["text"]))
                continue
            if speaker.engine.remote:
                question = InWords(sampling).describe(speaker.engine, request).key
            else:
                # Without a store weights are not loaded: contestants with the same model name count as the same model.
                names = [model_name(speaker.contestant.engine), speaker.engine.render(request), sampling.model_dump()]
                question = json.dumps(names)
            if question not in self.counted:
                self.counted.add(question)
                rows.left.append((request, sampling.max_tokens))
                rows.again += failed
            answers.append(stand_in.write_text(prompt.uid, len(answers), speaker.contestant.name))
        rows.answers[prompt.uid] = answers


@dataclass
class _Rows:
    """Questions of a contestant: those left with the limit of their answers in tokens, and those with an answer."""

    left: list[tuple[Request, int]] = field(default_factory=list)
    answers: dict[str, Sequence[str]] = field(default_factory=dict)
    tokens: list[int] = field(default_factory=list)
    stored: int = 0
    again: int = 0
    refused: int = 0


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


def _has_no_tokenizer(engine: Engine, settings: EngineSettings) -> bool:
    return engine.remote and getattr(settings, "tokenizer", None) is None
