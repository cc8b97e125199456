"""`evaluate`: models answer a benchmark's prompts and a judge rates the answers, through one resumable store."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import prefboost
from prefboost.addresses import SEGMENTS, find_address
from prefboost.atomic import write_atomically
from prefboost.engines.budget import Ledger, Price, Spend, find_price
from prefboost.engines.engine import Engine
from prefboost.engines.kinds import EngineSettings, model_name
from prefboost.engines.patience import check_answered
from prefboost.engines.pool import open_engine
from prefboost.engines.store.interface import AnswerStore
from prefboost.engines.store.opening import open_store
from prefboost.engines.store.sightings import sightings
from prefboost.errors import RunError, SettingsError
from prefboost.evaluation.alarms import raise_alarms
from prefboost.evaluation.benchmark import BenchmarkPrompt, JudgeVerdict
from prefboost.evaluation.kinds import BenchmarkSettings
from prefboost.evaluation.prompt_sets import read_answers
from prefboost.evaluation.protocols import Completions, Contestant, MeasuredBenchmark, PreparedBenchmark
from prefboost.evaluation.results import Results
from prefboost.evaluation.user_files import read_records
from prefboost.progress import Tell
from prefboost.reporting.evaluation.page import ScoredBenchmark, render_evaluation_page, write_evaluation_markdown
from prefboost.runs.evaluate.answering import ContestantAnswers, answer_prompts, choose_sampling, open_speaker
from prefboost.runs.evaluate.canary import canary_facts
from prefboost.runs.evaluate.exports import Outcome
from prefboost.runs.evaluate.exports.inspect_log import write_inspect_logs
from prefboost.runs.evaluate.exports.judge_arena import check_one_turn, write_judge_arena
from prefboost.runs.evaluate.judge_probe import find_fallback
from prefboost.runs.evaluate.judging import judge_requests
from prefboost.runs.evaluate.settings import Evaluate, list_contestants
from prefboost.sources.readers.remote import put_files
from prefboost.sources.writers.outputs import refuse_foreign, refuse_inputs

__all__ = [
    "Engines",
    "check_judge",
    "evaluate",
    "guard_evaluation",
    "locate_results",
    "locate_answers",
    "place_answers",
    "price_for",
    "read_files",
    "read_judge_verdicts",
    "write_evaluation",
]


def evaluate(
    settings: Evaluate,
    out: str | Path,
    *,
    store: str | Path | None = None,
    tell: Callable[[str], Tell] = lambda _: lambda _: None,
) -> dict[str, Results]:
    """Run every benchmark.

    Args:
        settings: models, goals, benchmarks, judge.
        out: folder. Answers of models and of the judge are stored in ``OUT/store`` as they come: the same call after an
            interruption resumes there, a changed one asks only what changed. `write_evaluation` writes each
            benchmark's verdicts and results into its folder (`locate_results`), and completions into ``completions``.
            Of an address, ``OUT/store`` is a store of segments, and the files are put there when all are written.
        store: a folder or an address to use in the place of ``OUT/store``.
        tell: benchmark -> function that is called with the progress.

    Returns:
        benchmark -> results.

    Raises:
        SettingsError: there is no model, two have one name, a judge is needed and none is named, or `exports` names
            files that cannot hold a benchmark.
        ModelError: a model cannot be loaded or reached, or the goal does not stand in a rendered prompt.
        RunError: the budget is spent, and answers stay in the store; or a model or the judge answered less than
            ``settings.least_answered``, and the results are written all the same. Or the folder contains an input,
            or results that `evaluate` did not write.
    """
    contestants, folder = list_contestants(settings), Path(out)
    check_judge(settings)
    guard_evaluation(folder, [settings], settings.exports)
    place = place_answers(folder, store)
    if (address := find_address(out)) is not None:
        with tempfile.TemporaryDirectory(prefix="prefboost-") as here:
            try:
                return evaluate(settings, here, store=place, tell=tell)
            finally:
                # Results that too few answers stand behind are written, too.
                put_files(Path(here), address)
    folder.mkdir(parents=True, exist_ok=True)
    results: dict[str, Results] = {}
    shortfalls: list[RunError] = []
    with open_store(place, retry=settings.retry) as answers:
        engines = Engines(settings, answers)
        for benchmark in settings.benchmarks:
            place = locate_results(folder, benchmark, settings)
            run = _Run(settings, contestants, engines, answers, folder, tell(benchmark.kind))
            if isinstance(benchmark, MeasuredBenchmark):
                results[benchmark.kind] = run.measure(benchmark, place)
            else:
                results[benchmark.kind] = run.judge(benchmark.prepare(settings.assets, run.names), place)
            shortfalls += run.shortfalls
    if shortfalls:
        raise shortfalls[0]
    return results


def guard_evaluation(folder: Path, inputs: Iterable[Any], exports: Iterable[str] = ()) -> None:
    """Refuse a folder that contains an input, or results that `evaluate` did not write.

    Args:
        folder: of the evaluation.
        inputs: settings that name files.
        exports: folders that will be written beside the results.

    Raises:
        RunError: see `refuse_inputs` and `refuse_foreign`.
    """
    refuse_inputs([folder], [], inputs, far=True)
    names = ("verdicts.jsonl", "results.json", "results.md", "results.html", *exports)
    refuse_foreign([folder / name for name in names], [locate_answers(folder), folder / "results.html"], "evaluate")


class Engines:
    """Opens engines one at a time, each held to the budget over all calls that share the store.

    Args:
        settings: budget and prices.
        store: holds the sum that is spent; None: nothing is asked.
    """

    def __init__(self, settings: Evaluate, store: AnswerStore | None) -> None:
        self._settings = settings
        self._store = store
        self._open: tuple[EngineSettings, Engine] | None = None
        self._spent = Spend()

    def open(self, settings: EngineSettings) -> Engine:
        """Open an engine; the one before is released, so that two models need not fit into memory together.

        Raises:
            SettingsError: the budget is in dollars, and the price table does not name a model on a server.
        """
        if self._open is None or self._open[0] != settings:
            self._spent = self.spent
            self._open = None
            engine = open_engine(settings)
            book = None if self._store is None else self._store.book()
            engine.ledger = Ledger(self._settings.budget, price_for(engine, settings, self._settings), book)
            self._open = (settings, engine)
        return self._open[1]

    @property
    def spent(self) -> Spend:
        """Spending of this call over all its engines."""
        return self._spent if self._open is None else self._spent + self._open[1].ledger.spent


def price_for(engine: Engine, settings: EngineSettings, evaluating: Evaluate) -> Price | None:
    """Return a model's price: zero for one that runs on this machine and is not in the price table.

    Raises:
        SettingsError: the budget is in dollars, and the price table does not name a model on a server.
    """
    name = model_name(settings)
    if not engine.remote and name not in evaluating.prices:
        return Price(prompt=0.0, completion=0.0)
    return find_price(name, evaluating.prices, evaluating.budget)


def check_judge(settings: Evaluate) -> None:
    """Check that there is a judge where one is needed.

    Raises:
        SettingsError: there is none.
    """
    judged = [benchmark.kind for benchmark in settings.benchmarks if not isinstance(benchmark, MeasuredBenchmark)]
    if judged and settings.judge is None:
        raise SettingsError(f"{judged[0]} needs a judge", remedy="write judge=MODEL, or judge.kind=... judge.model=...")


def locate_answers(out: Path) -> Path:
    """Return the folder of the store with all answers."""
    return out / "store"


def place_answers(out: Path, store: str | Path | None) -> str | Path:
    """Return the place of the store with all answers: the one that is named, or ``OUT/store``.

    ``segments:`` alone is that folder, with a store of segments.
    """
    return f"{SEGMENTS}{locate_answers(out)}" if str(store) == SEGMENTS else store or locate_answers(out)


def locate_results(out: Path, benchmark: BenchmarkSettings, settings: Evaluate) -> Path:
    """Return the folder of a benchmark's results: ``out``, or a folder in it where there are several benchmarks."""
    return out if len(settings.benchmarks) == 1 else out / benchmark.kind


def read_files(files: Mapping[str, Path], prompts: Sequence[BenchmarkPrompt]) -> dict[str, Completions]:
    """Read the completions of a benchmark's prompts from files, which are matched by the text of the prompt.

    Args:
        files: name -> file with instruction and output, or of any shape that `read_answers` takes.
        prompts: prompts of the benchmark; those that a file does not answer are absent from its completions.

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
    store: AnswerStore
    folder: Path
    tell: Tell
    records: dict[str, Any] = field(default_factory=dict)
    shortfalls: list[RunError] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        return [*(contestant.name for contestant in self.contestants), *self.settings.file_names]

    def measure(self, benchmark: MeasuredBenchmark, folder: Path) -> Results:
        if "judgearena" in self.settings.exports:
            check_one_turn(())
        measured = benchmark.measure(
            self.contestants,
            self.settings.assets,
            folder=folder,
            limit=self.settings.limit,
            tell=self.tell,
        )
        results = self._add_facts(measured.results, {}, [])
        write_evaluation(folder, measured.verdicts, results)
        self._export(folder, Outcome(results, measured.verdicts))
        return results

    def judge(self, prepared: PreparedBenchmark, folder: Path) -> Results:
        prompts = list(prepared.prompts[: self.settings.limit])
        if "judgearena" in self.settings.exports:
            check_one_turn(prompts)
        completions: dict[str, Completions] = {**prepared.given, **read_files(self.settings.file_names, prompts)}
        for contestant in self.contestants:
            speaker = open_speaker(contestant, self.engines.open(contestant.engine))
            sampling = choose_sampling(speaker, prepared.sampling, self.settings.answering)
            answers = answer_prompts(speaker, prompts, sampling, self.store, tell=self.tell)
            self.records[contestant.name] = {
                "engine": speaker.engine.identity, "goal": contestant.goal, "goal text": speaker.goal_text,
                "the chat template says the goal": speaker.engine.says_goals, **answers.record,
            }  # fmt: skip
            write_completions(folder, contestant, prompts, answers)
            self._check(contestant.name, len(prompts), list(answers.faults.values()))
            completions[contestant.name] = answers.completions
        requests = prepared.benchmark.build(prompts, completions)
        assert self.settings.judge is not None
        judge = self.engines.open(self.settings.judge)
        verdicts = judge_requests(prepared.benchmark, requests, judge, self.store, tell=self.tell)
        results = prepared.benchmark.score(verdicts, allow_missing=self.settings.allow_missing)
        facts = {
            "identity": judge.identity,
            "name": model_name(self.settings.judge),
            "base_url": getattr(self.settings.judge, "base_urls", None)
            or getattr(self.settings.judge, "base_url", None),
            "answered as": [asdict(row) for row in sightings(self.store) if row.engine == judge.identity],
            "log-probs were not to be had, words were read": find_fallback(requests, judge, self.store),
        }
        # Model without its goal -> its names with each goal: answers that ignore the goal are an alarm.
        sweeps: dict[str, list[str]] = {}
        for contestant in self.contestants:
            if contestant.goal is not None:
                sweeps.setdefault(contestant.name.rpartition("@")[0], []).append(contestant.name)
        results = self._add_facts(results, facts, raise_alarms(completions, sweeps))
        write_evaluation(folder, verdicts, results)
        self._export(folder, Outcome(results, verdicts, prompts, completions))
        called = [verdict for request, verdict in zip(requests, verdicts, strict=True) if request.needs_call]
        self._check("the judge", len(called), [verdict.fault or "" for verdict in called if verdict.value is None])
        return results

    def _export(self, folder: Path, outcome: Outcome) -> None:
        """Write what `exports` names."""
        goals = {contestant.name: contestant.goal for contestant in self.contestants}
        for name in dict.fromkeys(self.settings.exports):
            write = {"inspect": write_inspect_logs, "judgearena": write_judge_arena}[name]
            write(folder, replace(outcome, goals=goals))

    def _check(self, name: str, questions: int, faults: Sequence[str]) -> None:
        """Note that too little was answered; the error is raised after all results are written."""
        try:
            check_answered(questions - len(faults), questions, self.settings, faults)
        except RunError as error:
            self.shortfalls.append(RunError(f"{name}: {error.message}", remedy=error.remedy))

    def _add_facts(self, results: Results, judge: Mapping[str, Any], alarms: Sequence[str]) -> Results:
        """Add to results what was asked of which model, and its cost."""
        total = self.store.book().total()
        run = {
            "version": prefboost.__version__, "models": self.records, "judge": judge, "limit": self.settings.limit,
            "settings": self.settings.model_dump(mode="json"),
            "cost": {"this call": asdict(self.engines.spent), "all calls of the store": asdict(total)},
        }  # fmt: skip
        names = {(row["model"], row["fingerprint"]) for row in judge.get("answered as", ())}
        changed = [f"the judge answered as {len(names)} different models or systems"] if len(names) > 1 else []
        unique = dict.fromkeys([*results.alarms, *alarms, *changed])
        facts = {**results.facts, **canary_facts(self.folder), "run": run}
        return replace(results, alarms=tuple(unique), facts=facts)


def read_judge_verdicts(path: str | Path) -> list[JudgeVerdict]:
    """Read stored verdicts: JSON lines as `write_evaluation` writes them.

    Raises:
        DataError: a line is no verdict.
    """
    return [JudgeVerdict.of(record) for record in read_records(path)]


def write_evaluation(out: str | Path, verdicts: Iterable[JudgeVerdict], results: Results) -> None:
    """Write verdicts.jsonl, results.json, results.md and results.html into a folder, each at once.

    Args:
        out: folder; created where it is absent.
        verdicts: verdicts on all requests.
        results: their figures.
    """
    folder = Path(out)
    scored = ScoredBenchmark(results, list(verdicts))
    lines = [json.dumps(verdict.record, ensure_ascii=False) for verdict in scored.verdicts]
    texts = {
        "verdicts.jsonl": "".join(f"{line}\n" for line in lines),
        "results.json": json.dumps(results.record(), indent=2, ensure_ascii=False) + "\n",
        "results.md": write_evaluation_markdown([scored]),
        "results.html": render_evaluation_page([scored]),
    }
    for name, text in texts.items():
        write_atomically(folder / name, text, errors="replace")


def write_completions(
    out: Path, contestant: Contestant, prompts: Sequence[BenchmarkPrompt], answers: ContestantAnswers
) -> Path:
    """Write a contestant's completions as JSON lines, which `evaluate` takes as a file of completions.

    Args:
        out: folder of the benchmark.
        contestant: model and goal.
        prompts: prompts in the order of the lines.
        answers: completions; a prompt without one has no line.
    """
    lines = [
        {
            "uid": prompt.uid, "instruction": prompt.turns[0], "output": answers.completions[prompt.uid][0],
            "turns": answers.completions[prompt.uid], "generator": contestant.name, "goal": contestant.goal,
        }
        for prompt in prompts if prompt.uid in answers.completions
    ]  # fmt: skip
    path = out / "completions" / f"{contestant.name.replace('/', '_')}.jsonl"
    write_atomically(path, "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines), errors="replace")
    return path
