"""`evaluate`: models answer a benchmark's prompts, a judge rates what they say; both through one store, resumable."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import prefboost
from prefboost.atomic import write_atomically
from prefboost.engines.budget import Ledger, Price, Spend, find_price
from prefboost.engines.engine import Engine
from prefboost.engines.kinds import EngineSettings, model_name
from prefboost.engines.patience import check_answered
from prefboost.engines.store.sightings import sightings
from prefboost.engines.store.store import Store
from prefboost.errors import RunError, SettingsError
from prefboost.evaluation.alarms import raise_alarms
from prefboost.evaluation.benchmark import BenchmarkPrompt, JudgeVerdict
from prefboost.evaluation.kinds import BenchmarkSettings
from prefboost.evaluation.prompt_sets import read_answers
from prefboost.evaluation.protocols import Completions, Contestant, MeasuredBenchmark, PreparedBenchmark
from prefboost.evaluation.results import Results
from prefboost.evaluation.user_files import read_records
from prefboost.progress import Tell, WorkProgress
from prefboost.reporting.evaluation.page import Scored, evaluation_markdown, evaluation_page
from prefboost.runs.evaluate.answering import Answered, Speaker, answered, sampling_for, speaker
from prefboost.runs.evaluate.canary import canary_facts
from prefboost.runs.evaluate.judging import fallback_of, judged
from prefboost.runs.evaluate.settings import Evaluate, list_contestants
from prefboost.sources.writers.outputs import refuse_foreign, refuse_inputs

__all__ = [
    "Engines",
    "completions_of_files",
    "evaluate",
    "folder_of",
    "read_verdicts",
    "store_in",
    "write_evaluation",
]


def evaluate(settings: Evaluate, out: str | Path, *, tell: Callable[[str], Tell]) -> dict[str, Results]:
    """Run every benchmark.

    Args:
        settings: models, goals, benchmarks, judge.
        out: folder. Answers of models and of the judge are kept in ``OUT/store`` as they come: the same call after an
            interruption goes on there, a changed one asks only what changed. `write_evaluation` writes each
            benchmark's verdicts and results into `folder_of` it, and what models said into ``completions``.
        tell: benchmark -> who is told how far it is.

    Returns:
        benchmark -> results.

    Raises:
        SettingsError: nobody is evaluated, two have one name, or a judge is needed and none is named.
        ModelError: a model cannot be loaded or reached, or the goal does not stand in a rendered prompt.
        RunError: the budget is spent, and what is done stays in the store; or a model or the judge answered less than
            ``settings.least_answered``, and what came of it is written all the same. Or the folder lies around an
            input, or holds results that `evaluate` did not write.
    """
    contestants, folder = list_contestants(settings), Path(out)
    check_judge(settings)
    guard_evaluation(folder, [settings])
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, Results] = {}
    shortfalls: list[RunError] = []
    with Store(store_in(folder), retry=settings.retry) as store:
        engines = Engines(settings, store)
        for benchmark in settings.benchmarks:
            own = folder_of(folder, benchmark, settings)
            run = _Run(settings, contestants, engines, store, tell(benchmark.kind))
            if isinstance(benchmark, MeasuredBenchmark):
                found[benchmark.kind] = run.measured(benchmark, own)
            else:
                found[benchmark.kind] = run.judged(benchmark.prepare(settings.assets, run.names), own)
            shortfalls += run.shortfalls
    if shortfalls:
        raise shortfalls[0]
    return found


def guard_evaluation(folder: Path, inputs: Iterable[Any]) -> None:
    """Refuse a folder that lies around an input, or whose results are not of `evaluate`.

    Raises:
        RunError: see `refuse_inputs` and `refuse_foreign`.
    """
    refuse_inputs([folder], [], inputs)
    names = ("verdicts.jsonl", "results.json", "results.md", "results.html")
    refuse_foreign([folder / name for name in names], [store_in(folder), folder / "results.html"], "evaluate")


class Engines:
    """Opens engines one at a time, each held to the budget over all calls that share the store.

    Args:
        settings: budget and prices.
        store: keeps what is spent; None: nothing is asked.
    """

    def __init__(self, settings: Evaluate, store: Store | None) -> None:
        self._settings = settings
        self._store = store
        self._open: tuple[EngineSettings, Engine] | None = None
        self._spent = Spend()

    def opened(self, settings: EngineSettings) -> Engine:
        """An engine; the one before is let go, so that two models need not fit into memory together.

        Raises:
            SettingsError: the budget is in dollars, and the price table does not name a model on a server.
        """
        if self._open is None or self._open[0] != settings:
            self._spent = self.spent
            self._open = None
            engine = settings.open()
            book = None if self._store is None else self._store.book()
            engine.ledger = Ledger(self._settings.budget, price_for(engine, settings, self._settings), book)
            self._open = (settings, engine)
        return self._open[1]

    @property
    def spent(self) -> Spend:
        """By this call, over all its engines."""
        return self._spent if self._open is None else self._spent + self._open[1].ledger.spent


def price_for(engine: Engine, settings: EngineSettings, evaluating: Evaluate) -> Price | None:
    """A model's price; nothing for one that runs on this machine and is not in the price table.

    Raises:
        SettingsError: the budget is in dollars, and the price table does not name a model on a server.
    """
    name = model_name(settings)
    if not engine.remote and name not in evaluating.prices:
        return Price(prompt=0.0, completion=0.0)
    return find_price(name, evaluating.prices, evaluating.budget)


def check_judge(settings: Evaluate) -> None:
    """See that there is a judge where one is needed.

    Raises:
        SettingsError: there is none.
    """
    needing = [one.kind for one in settings.benchmarks if not isinstance(one, MeasuredBenchmark)]
    if needing and settings.judge is None:
        raise SettingsError(
            f"{needing[0]} needs a judge", remedy="write judge=MODEL, or judge.kind=... judge.model=..."
        )


def store_in(out: Path) -> Path:
    """Where all answers are kept."""
    return out / "store"


def folder_of(out: Path, benchmark: BenchmarkSettings, settings: Evaluate) -> Path:
    """Where a benchmark's results are written: the folder itself, or one in it where there are several benchmarks."""
    return out if len(settings.benchmarks) == 1 else out / benchmark.kind


def completions_of_files(files: Mapping[str, Path], prompts: Sequence[BenchmarkPrompt]) -> dict[str, Completions]:
    """What files say to a benchmark's prompts, which are found by their text.

    Args:
        files: name -> file with instruction and output, or of any shape that `read_answers` takes.
        prompts: of the benchmark; one that a file has no completion of is missing there.

    Raises:
        DataError: a file holds no completions.
    """
    return {name: read_answers(file, prompts) for name, file in files.items()}


@dataclass
class _Run:
    """One benchmark over all contestants."""

    settings: Evaluate
    contestants: Sequence[Contestant]
    engines: Engines
    store: Store
    tell: Tell
    asked: dict[str, Any] = field(default_factory=dict)
    shortfalls: list[RunError] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        return [*(one.name for one in self.contestants), *self.settings.file_names]

    def measured(self, benchmark: MeasuredBenchmark, folder: Path) -> Results:
        found = benchmark.measure(
            self.contestants,
            self.settings.assets,
            folder=folder,
            limit=self.settings.limit,
            tell=lambda words: self.tell(WorkProgress(words, 0)),
        )
        results = self._told(found.results, {}, [])
        write_evaluation(folder, found.verdicts, results)
        return results

    def judged(self, prepared: PreparedBenchmark, folder: Path) -> Results:
        prompts = list(prepared.prompts[: self.settings.limit])
        said: dict[str, Completions] = {
            **prepared.given,
            **completions_of_files(self.settings.file_names, prompts),
            **{one.name: self._answered(one, prepared, prompts, folder).completions for one in self.contestants},
        }
        requests = prepared.benchmark.build(prompts, said)
        assert self.settings.judge is not None
        judge = self.engines.opened(self.settings.judge)
        verdicts = judged(prepared.benchmark, requests, judge, self.store, tell=self.tell)
        results = prepared.benchmark.score(verdicts, allow_missing=self.settings.allow_missing)
        facts = {
            "identity": judge.identity,
            "name": model_name(self.settings.judge),
            "base_url": getattr(self.settings.judge, "base_url", None),
            "answered as": [asdict(one) for one in sightings(self.store) if one.engine == judge.identity],
            "log-probs were not to be had, words were read": fallback_of(requests, judge, self.store),
        }
        results = self._told(results, facts, raise_alarms(said, _sweeps(self.contestants)))
        write_evaluation(folder, verdicts, results)
        asked = [verdict for request, verdict in zip(requests, verdicts, strict=True) if request.needs_call]
        self._check("the judge", len(asked), [one.fault or "" for one in asked if one.value is None])
        return results

    def _check(self, who: str, asked: int, faults: Sequence[str]) -> None:
        """Note where too little was answered; what came of it is written first."""
        try:
            check_answered(asked - len(faults), asked, self.settings, faults)
        except RunError as error:
            self.shortfalls.append(RunError(f"{who}: {error.found}", remedy=error.remedy))

    def _answered(
        self, one: Contestant, prepared: PreparedBenchmark, prompts: Sequence[BenchmarkPrompt], folder: Path
    ) -> Answered:
        who = speaker(one, self.engines.opened(one.engine))
        drawn = sampling_for(who, prepared.sampling, self.settings.answering)
        found = answered(who, prompts, drawn, self.store, tell=self.tell)
        self.asked[one.name] = _asked(who, found)
        write_completions(folder, one, prompts, found)
        self._check(one.name, len(prompts), list(found.faults.values()))
        return found

    def _told(self, results: Results, judge: Mapping[str, Any], alarms: Sequence[str]) -> Results:
        """Results with what was asked of whom, and at what cost."""
        total = self.store.book().total()
        run = {
            "version": prefboost.__version__, "models": self.asked, "judge": judge, "limit": self.settings.limit,
            "settings": self.settings.model_dump(mode="json"),
            "cost": {"this call": asdict(self.engines.spent), "all calls of the store": asdict(total)},
        }  # fmt: skip
        names = {(one["model"], one["fingerprint"]) for one in judge.get("answered as", ())}
        changed = [f"the judge answered as {len(names)} different models or systems"] if len(names) > 1 else []
        known = dict.fromkeys([*results.alarms, *alarms, *changed])
        facts = {**results.facts, **canary_facts(self.store.path.parent), "run": run}
        return replace(results, alarms=tuple(known), facts=facts)


def _asked(who: Speaker, found: Answered) -> dict[str, Any]:
    return {
        "engine": who.engine.identity, "goal": who.contestant.goal, "goal text": who.goal_text,
        "the chat template says the goal": who.engine.says_goals, **found.record,
    }  # fmt: skip


def _sweeps(contestants: Sequence[Contestant]) -> dict[str, list[str]]:
    """Model without its goal -> its names with each goal."""
    found: dict[str, list[str]] = {}
    for one in contestants:
        if one.goal is not None:
            found.setdefault(one.name.rpartition("@")[0], []).append(one.name)
    return found


def read_verdicts(path: str | Path) -> list[JudgeVerdict]:
    """Stored verdicts: JSON lines as `write_evaluation` writes them.

    Raises:
        DataError: a line is no verdict.
    """
    return [JudgeVerdict.of(record) for record in read_records(path)]


def write_evaluation(out: str | Path, verdicts: Iterable[JudgeVerdict], results: Results) -> None:
    """Write verdicts.jsonl, results.json, results.md and results.html into a folder, each at once.

    Args:
        out: folder; made where it is absent.
        verdicts: of all requests.
        results: what came of them.
    """
    folder = Path(out)
    scored = Scored(results, list(verdicts))
    lines = [json.dumps(verdict.record, ensure_ascii=False) for verdict in scored.verdicts]
    texts = {
        "verdicts.jsonl": "".join(f"{line}\n" for line in lines),
        "results.json": json.dumps(results.record(), indent=2, ensure_ascii=False) + "\n",
        "results.md": evaluation_markdown([scored]),
        "results.html": evaluation_page([scored]),
    }
    for name, text in texts.items():
        write_atomically(folder / name, text, errors="replace")


def write_completions(out: Path, contestant: Contestant, prompts: Sequence[BenchmarkPrompt], found: Answered) -> Path:
    """Write what a contestant said as JSON lines that `evaluate` takes as a file of completions.

    Args:
        out: folder of the benchmark.
        contestant: who said it.
        prompts: in whose order.
        found: completions; of prompts without one there is no line.
    """
    lines = [
        {
            "uid": one.uid, "instruction": one.turns[0], "output": found.completions[one.uid][0],
            "turns": found.completions[one.uid], "generator": contestant.name, "goal": contestant.goal,
        }
        for one in prompts if one.uid in found.completions
    ]  # fmt: skip
    path = out / "completions" / f"{contestant.name.replace('/', '_')}.jsonl"
    write_atomically(path, "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines), errors="replace")
    return path
