"""The academic six as `prefboost evaluate` runs them: goals as system messages, data from a folder or the hub."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from prefboost.chat import goal_text
from prefboost.devices import choose_numbers
from prefboost.engines.engine import Engine, Request
from prefboost.engines.packaged import model_folder
from prefboost.errors import DataError, SettingsError
from prefboost.evaluation.academic.harness import Academic, academic, read_samples, without_data
from prefboost.evaluation.academic.scores import AcademicScore
from prefboost.evaluation.assets import Assets
from prefboost.evaluation.benchmark import JudgeVerdict
from prefboost.evaluation.protocols import Contestant, Measured
from prefboost.evaluation.results import Figure, Results
from prefboost.statistics import Interval

__all__ = ["AcademicSet", "contest", "goal_in_template"]


class AcademicSet(Academic):
    """GSM8K, GPQA, MuSR, TruthfulQA, BBH and ARC by lm-evaluation-harness, for every goal."""

    def measure(
        self,
        contestants: Sequence[Contestant],
        assets: Assets,
        *,
        folder: Path,
        limit: int | None = None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> Measured:
        """See `prefboost.evaluation.protocols.MeasuredBenchmark`. Each contestant has a folder of its own."""
        own = self.model_copy(
            update={"data_dir": self.data_dir or assets.data_dir, "limit": limit if self.limit is None else self.limit}
        )
        _check_data(own, assets)
        figures: list[Figure] = []
        verdicts: list[JudgeVerdict] = []
        runs = dict[str, Any]()
        for one in contestants:
            model, settings = contest(own, one)
            place = folder / one.name.replace("/", "_")
            scores = academic(model, settings, place, tell=lambda words, name=one.name: tell(f"{name}, {words}"))  # type: ignore[misc]
            for score in scores:
                figures += _figures(one.name, score)
                verdicts += _verdicts(one.name, score.benchmark, place / "samples" / f"{score.benchmark}.jsonl")
            runs[one.name] = {
                "settings": settings.model_dump(mode="json"),
                "benchmarks": {score.benchmark: dict(score.settings) for score in scores},
            }
        return Measured(Results("academic", "robust", tuple(figures), _alarms(runs), runs), verdicts)


def contest(settings: Academic, contestant: Contestant) -> tuple[str, Academic]:
    """What is run for a contestant: its weights' name, and settings that say its goal.

    A goal is said as the system message, the only place that lm-eval has for it; a chat template that says goals by
    itself is given the number. Whether it was said is looked at in every rendered prompt (`academic`).

    Args:
        settings: of the benchmark.
        contestant: model and goal.

    Raises:
        SettingsError: lm-eval has no way to the model.
        ModelError: the model cannot be loaded.
    """
    kind = str(getattr(contestant.engine, "kind", type(contestant.engine).__name__))
    if kind not in _BACKENDS:
        raise SettingsError(
            f"{contestant.name} runs in {kind}, which lm-evaluation-harness cannot ask for the log-probs of prompts",
            remedy=f"give the model as {', '.join(_BACKENDS)}",
        )
    model, found = _BACKENDS[kind](contestant.engine)
    own = settings.model_args if "model_args" in settings.model_fields_set else {}
    changed: dict[str, Any] = {"model_args": {**found.pop("model_args"), **own}, **found}
    return model, settings.model_copy(update={**changed, **_said(settings, contestant)})


def goal_in_template(engine: Engine, goal: float) -> str:
    """The text that a chat template which says goals by itself adds for one.

    Args:
        engine: of a checkpoint that says goals by itself.
        goal: the score asked for.
    """
    prompt = [{"role": "user", "content": "?"}]
    told, silent = (engine.rendered(Request(prompt, goal=asked)) for asked in (goal, False))
    before = _shared(told, silent)
    after = _shared(told[before:][::-1], silent[before:][::-1])
    return told[before : len(told) - after]


def _shared(one: str, other: str) -> int:
    """How many characters both begin with."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def _said(settings: Academic, contestant: Contestant) -> dict[str, Any]:
    goal = contestant.goal
    if goal is None:
        return {}
    engine = contestant.engine.open()
    if engine.says_goals:
        options = {**settings.template_options, "goal": goal}
        return {"template_options": options, "must_contain": goal_in_template(engine, goal)}
    text = goal_text(contestant.say, goal)
    whole = text if settings.system is None else f"{text}\n\n{settings.system}"
    return {"system": whole, "must_contain": text.strip()}


def _numbers_of(engine: Any) -> str:
    """Resolve the number type: the harness would take ``auto`` for the checkpoint's own."""
    return choose_numbers(engine.dtype, getattr(engine, "device", "auto")).name


def _local(engine: Any) -> tuple[str, dict[str, Any]]:
    arguments: dict[str, Any] = {"dtype": _numbers_of(engine), "trust_remote_code": engine.trust_remote_code}
    arguments |= {"revision": engine.revision} if engine.revision else {}
    arguments |= {"device": engine.device} if engine.device != "auto" else {}
    return str(model_folder(engine.model)), {"backend": "hf", "model_args": arguments}


def _vllm(engine: Any) -> tuple[str, dict[str, Any]]:
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


def _served(engine: Any) -> tuple[str, dict[str, Any]]:
    if engine.tokenizer is None:
        raise SettingsError(
            f"lm-evaluation-harness renders prompts for {engine.model} here, and its tokenizer is not named",
            remedy="set the model's tokenizer to a folder or hub id",
        )
    arguments = {
        "base_url": f"{engine.base_url.rstrip('/')}/completions",
        "tokenizer": engine.tokenizer,
        "tokenizer_backend": "huggingface",
    }
    return str(engine.model), {"backend": "local-completions", "model_args": arguments}


_BACKENDS: Mapping[str, Callable[[Any], tuple[str, dict[str, Any]]]] = {
    "local": _local,
    "vllm": _vllm,
    "openai_compatible": _served,
}
"""Kind of engine -> the model's name for lm-eval, and settings that reach it."""


def _check_data(settings: Academic, assets: Assets) -> None:
    """See that data are here, or may be fetched.

    Raises:
        DataError: neither; benchmarks without data are named.
    """
    if settings.data_dir is not None:
        missing = without_data(settings)
        if missing:
            present = [name for name in settings.benchmarks if name not in missing]
            raise DataError(
                f"{settings.data_dir} holds no data of {', '.join(missing)}",
                remedy="put them there as TASK/SPLIT.jsonl, e.g. gsm8k/train.jsonl and gsm8k/test.jsonl"
                + (f", or write academic.benchmarks=[{','.join(present)}]" if present else ""),
            )
    elif assets.offline or not assets.download:
        raise DataError(
            f"data of {', '.join(settings.benchmarks)} are not looked for on the hub",
            remedy="put them into data_dir as TASK/SPLIT.jsonl, e.g. gsm8k/test.jsonl"
            + ("" if assets.offline else ", or set assets.download to fetch them"),
        )


def _figures(model: str, score: AcademicScore) -> Iterator[Figure]:
    """The benchmark's own first, then the rescaled one, then subtasks."""
    name = score.benchmark
    for reading, share in score.readings.items():
        yield _figure("accuracy" if reading == "none" else f"accuracy_{reading.replace('-', '_')}", model, share, name)
    if score.rescaled is not None:
        whole = next(iter(score.readings.values()))
        plain = Interval.without_ends(score.rescaled, level=whole.level, rows=whole.rows, clusters=whole.clusters)
        yield _figure("rescaled", model, plain, name, note="(share - chance) / (1 - chance), mean over subtasks")
    for task, share in score.tasks.items() if len(score.tasks) > 1 else ():
        yield _figure("accuracy", model, share, f"{name}/{task}")


def _figure(name: str, model: str, value: Interval, group: str, note: str = "") -> Figure:
    return Figure(name, model, value, 0, value.rows, group=group, note=note)


def _verdicts(model: str, benchmark: str, log: Path) -> Iterator[JudgeVerdict]:
    """Questions as rows that `compare` takes; each way of reading is compared by itself."""
    for one in read_samples(log):
        group = benchmark if one.reading == "none" else f"{benchmark}, {one.reading}"
        yield JudgeVerdict(f"{one.task}/{one.question}", model, one.reading, one.value, {"group": group})


def _alarms(runs: Mapping[str, Any]) -> tuple[str, ...]:
    left = {
        name: notes["left out for want of data"]
        for run in runs.values() for name, notes in run["benchmarks"].items()
    }  # fmt: skip
    return tuple(
        f"{name} is without {len(tasks)} of its tasks, whose data are absent: {', '.join(tasks)}"
        for name, tasks in left.items()
        if tasks
    )
