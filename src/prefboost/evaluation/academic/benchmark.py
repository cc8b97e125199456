"""The academic six under `prefboost evaluate`: goals as system messages, data from a folder or the hub."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from prefboost.chat import goal_text
from prefboost.devices import choose_numbers
from prefboost.engines.engine import Engine, Request
from prefboost.engines.models.packaged import model_folder
from prefboost.engines.pool import has_pool
from prefboost.errors import DataError, SettingsError
from prefboost.evaluation.academic.harness import Academic, academic, find_missing_data, read_samples
from prefboost.evaluation.academic.scores import AcademicScore
from prefboost.evaluation.assets import Assets
from prefboost.evaluation.benchmark import JudgeVerdict
from prefboost.evaluation.protocols import BenchmarkOutcome, Contestant
from prefboost.evaluation.results import Figure, Results
from prefboost.progress import Tell
from prefboost.statistics import Interval

__all__ = ["AcademicSet", "configure_contest", "find_backend", "find_goal_text"]


class AcademicSet(Academic):
    """GSM8K, GPQA, MuSR, TruthfulQA, BBH and ARC by lm-evaluation-harness, for every goal."""

    def settle(self, assets: Assets, limit: int | None = None) -> AcademicSet:
        """Return the settings with the places of the data; hours of computing must not end at a task without data.

        Args:
            assets: where the data are, and whether they may be fetched.
            limit: questions of each task where these settings name no limit.

        Raises:
            DataError: data are neither present nor may be fetched; benchmarks without data are named.
            MissingExtra: lm-eval is not installed.
        """
        settings = self.model_copy(
            update={"data_dir": self.data_dir or assets.data_dir, "limit": limit if self.limit is None else self.limit}
        )
        if missing := find_missing_data(settings):
            present = [name for name in settings.benchmarks if name not in missing]
            raise DataError(
                f"{settings.data_dir} has no data of {', '.join(missing)}",
                remedy="put them there as TASK/SPLIT.jsonl, e.g. gsm8k/train.jsonl and gsm8k/test.jsonl"
                + (f", or write academic.benchmarks=[{','.join(present)}]" if present else ""),
            )
        if settings.data_dir is None and (assets.offline or not assets.download):
            raise DataError(
                f"data of {', '.join(settings.benchmarks)} may not be fetched from the hub",
                remedy="put them into data_dir as TASK/SPLIT.jsonl, e.g. gsm8k/test.jsonl"
                + ("" if assets.offline else ", or set assets.download to fetch them"),
            )
        return settings

    def check_contestants(self, contestants: Sequence[Contestant]) -> None:
        """Refuse models that `measure` would refuse; see `prefboost.evaluation.protocols.CheckedBenchmark`."""
        for contestant in contestants:
            find_backend(contestant)

    def measure(
        self,
        contestants: Sequence[Contestant],
        assets: Assets,
        *,
        folder: Path,
        limit: int | None = None,
        tell: Tell = lambda _: None,
    ) -> BenchmarkOutcome:
        """Measure every contestant in a folder of its own; see `prefboost.evaluation.protocols.MeasuredBenchmark`.

        Raises:
            DataError, MissingExtra: see `settle`.
        """
        settings = self.settle(assets, limit)
        figures: list[Figure] = []
        verdicts: list[JudgeVerdict] = []
        runs = dict[str, Any]()
        # All of them first: what the harness cannot run is told before hours of computing.
        contests = [configure_contest(settings, contestant) for contestant in contestants]
        for contestant, (model, run) in zip(contestants, contests, strict=True):
            name = contestant.name
            place = folder / name.replace("/", "_")
            scores = academic(
                model,
                run,
                place,
                tell=lambda work, name=name: tell(replace(work, name=f"{name}, {work.name}")),  # type: ignore[misc]
            )
            for score in scores:
                figures += _build_figures(name, score)
                verdicts += _build_verdicts(name, score.benchmark, place / "samples" / f"{score.benchmark}.jsonl")
            runs[name] = {
                "settings": run.model_dump(mode="json"),
                "benchmarks": {score.benchmark: dict(score.settings) for score in scores},
            }
        return BenchmarkOutcome(Results("academic", "robust", tuple(figures), _find_alarms(runs), runs), verdicts)


def configure_contest(settings: Academic, contestant: Contestant) -> tuple[str, Academic]:
    """Return the name of a contestant's weights, and settings that say its goal.

    A goal is said as the system message, the only place that lm-eval has for it; a chat template that says goals
    itself is given the number. `academic` checks every rendered prompt for it.

    Args:
        settings: settings of the benchmark.
        contestant: model and goal.

    Raises:
        SettingsError: lm-eval cannot run the model.
        ModelError: the model cannot be loaded.
    """
    model, backend = find_backend(contestant)(contestant.engine)
    arguments = settings.model_args if "model_args" in settings.model_fields_set else {}
    backend["model_args"] = {**backend["model_args"], **arguments}
    return model, settings.model_copy(update={**backend, **_say_goal(settings, contestant)})


def find_backend(contestant: Contestant) -> Callable[[Any], tuple[str, dict[str, Any]]]:
    """Find what makes a contestant's engine a model of lm-eval.

    Raises:
        SettingsError: lm-eval cannot run the model, or not where it is to run.
    """
    kind = str(getattr(contestant.engine, "kind", type(contestant.engine).__name__))
    if kind not in _BACKENDS:
        raise SettingsError(
            f"{contestant.name} runs in {kind}, which gives lm-evaluation-harness no log-probs of prompts",
            remedy=f"give the model as {', '.join(_BACKENDS)}",
        )
    if has_pool() and kind in _HERE:
        raise SettingsError(
            f"{contestant.name} would be loaded by lm-evaluation-harness in this process, not on the pool",
            remedy="leave academic out of benchmarks or --executor ray away, or name a server: base_url=http://HOST/v1",
        )
    return _BACKENDS[kind]


def find_goal_text(engine: Engine, goal: float) -> str:
    """Return the text that a chat template which says goals itself adds for a goal.

    Args:
        engine: engine of a checkpoint that says goals itself.
        goal: requested score.
    """
    prompt = [{"role": "user", "content": "?"}]
    with_goal, without = (engine.render(Request(prompt, goal=value)) for value in (goal, False))
    before = _count_shared_prefix(with_goal, without)
    after = _count_shared_prefix(with_goal[before:][::-1], without[before:][::-1])
    return with_goal[before : len(with_goal) - after]


def _count_shared_prefix(first: str, second: str) -> int:
    pairs = enumerate(zip(first, second, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(first), len(second)))


def _say_goal(settings: Academic, contestant: Contestant) -> dict[str, Any]:
    goal = contestant.goal
    if goal is None:
        return {}
    engine = contestant.engine.open()
    if engine.says_goals:
        options = {**settings.template_options, "goal": goal}
        return {"template_options": options, "must_contain": find_goal_text(engine, goal)}
    text = goal_text(contestant.say, goal)
    whole = text if settings.system is None else f"{text}\n\n{settings.system}"
    return {"system": whole, "must_contain": text.strip()}


def _numbers_of(engine: Any) -> str:
    """Resolve the number type: the harness would take ``auto`` for the checkpoint's own."""
    return choose_numbers(engine.dtype, getattr(engine, "device", "auto")).name


def _configure_local(engine: Any) -> tuple[str, dict[str, Any]]:
    arguments: dict[str, Any] = {"dtype": _numbers_of(engine), "trust_remote_code": engine.trust_remote_code}
    arguments |= {"revision": engine.revision} if engine.revision else {}
    arguments |= {"device": engine.device} if engine.device != "auto" else {}
    return str(model_folder(engine.model)), {"backend": "hf", "model_args": arguments}


def _configure_vllm(engine: Any) -> tuple[str, dict[str, Any]]:
    arguments: dict[str, Any] = {
        "dtype": _numbers_of(engine),
        "tensor_parallel_size": engine.tensor_parallel,
        "gpu_memory_utilization": engine.gpu_memory,
        "trust_remote_code": engine.trust_remote_code,
    }
    arguments |= {"revision": engine.revision} if engine.revision else {}
    arguments |= {"max_model_len": engine.context} if engine.context else {}
    arguments |= {"lora_local_path": engine.adapter, "max_lora_rank": engine.adapter_rank} if engine.adapter else {}
    return str(engine.model), {"backend": "vllm", "model_args": arguments}


def _configure_server(engine: Any) -> tuple[str, dict[str, Any]]:
    if engine.tokenizer is None:
        raise SettingsError(
            f"lm-evaluation-harness renders prompts for {engine.model} here, but its tokenizer is not named",
            remedy="set the model's tokenizer to a folder or hub id",
        )
    arguments = {
        # The harness knows one address; of several servers with the model it asks the first.
        "base_url": f"{(*engine.base_urls, engine.base_url)[0].rstrip('/')}/completions",
        "tokenizer": engine.tokenizer,
        "tokenizer_backend": "huggingface",
    }
    return str(engine.model), {"backend": "local-completions", "model_args": arguments}


_BACKENDS: Mapping[str, Callable[[Any], tuple[str, dict[str, Any]]]] = {
    "local": _configure_local,
    "vllm": _configure_vllm,
    "openai_compatible": _configure_server,
}
"""Kind of engine -> function to the model's name in lm-eval and the settings of its backend."""

_HERE = ("local", "vllm")
"""Kinds whose weights the harness loads itself."""


def _build_figures(model: str, score: AcademicScore) -> Iterator[Figure]:
    """Yield the figures of the benchmark, then the rescaled one, then subtasks."""
    name = score.benchmark
    for reading, share in score.readings.items():
        yield _build_figure(
            "accuracy" if reading == "none" else f"accuracy_{reading.replace('-', '_')}", model, share, name
        )
    if score.rescaled is not None:
        whole = next(iter(score.readings.values()))
        plain = Interval.without_ends(score.rescaled, level=whole.level, rows=whole.rows, clusters=whole.clusters)
        yield _build_figure("rescaled", model, plain, name, note="(share - chance) / (1 - chance), mean over subtasks")
    for task, share in score.tasks.items() if len(score.tasks) > 1 else ():
        yield _build_figure("accuracy", model, share, f"{name}/{task}")


def _build_figure(name: str, model: str, value: Interval, group: str, note: str = "") -> Figure:
    return Figure(name, model, value, 0, value.rows, group=group, note=note)


def _build_verdicts(model: str, benchmark: str, log: Path) -> Iterator[JudgeVerdict]:
    """Yield questions as rows that `compare` takes; each way of reading is compared separately."""
    for sample in read_samples(log):
        group = benchmark if sample.reading == "none" else f"{benchmark}, {sample.reading}"
        yield JudgeVerdict(f"{sample.task}/{sample.question}", model, sample.reading, sample.value, {"group": group})


def _find_alarms(runs: Mapping[str, Any]) -> tuple[str, ...]:
    left = {
        name: notes["left out for want of data"]
        for run in runs.values() for name, notes in run["benchmarks"].items()
    }  # fmt: skip
    return tuple(
        f"{name} is without {len(tasks)} of its tasks, whose data are absent: {', '.join(tasks)}"
        for name, tasks in left.items()
        if tasks
    )
