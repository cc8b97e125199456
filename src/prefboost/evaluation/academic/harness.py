"""GSM8K, GPQA, MuSR, TruthfulQA, BBH and ARC by lm-evaluation-harness; this is the only module that imports it.

Settings are those of the Open LLM Leaderboards: the first (ARC, TruthfulQA, GSM8K) and the second (GPQA, MuSR, BBH).
lm-eval drops a system message that the chat template refuses, and warns in its log alone: a goal said that way would
be gone. Here the rendered prompts are checked, the first before anything is computed, every one afterwards.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import polars as pl
import yaml
from pydantic import Field

from prefboost.atomic import write_atomically
from prefboost.devices import resolve_device
from prefboost.engines.models.weights import fingerprint_of_model, name_weights
from prefboost.errors import DataError, MissingExtra, ModelError
from prefboost.evaluation.academic.bars import forward_bars
from prefboost.evaluation.academic.scores import (
    AcademicScore,
    Sample,
    parse_samples,
    read_academic_score,
    score_samples,
)
from prefboost.evaluation.user_files import read_records
from prefboost.progress import Tell, WorkProgress
from prefboost.settings import Settings
from prefboost.statistics import Bootstrap

__all__ = ["ACADEMIC", "Academic", "AcademicTask", "academic", "read_samples", "find_missing_data"]

Name = Literal["gsm8k", "gpqa", "musr", "truthfulqa", "bbh", "arc"]


class AcademicTask(NamedTuple):
    """Settings with which lm-evaluation-harness runs a benchmark.

    Args:
        tasks: name in lm-eval.
        files: pattern of its YAML files among lm-eval's tasks.
        examples: solved examples before the question.
        metric: name of the metric that counts.
        leaderboard: Open LLM Leaderboard that these settings belong to.
    """

    tasks: str
    files: str
    examples: int
    metric: str
    leaderboard: Literal["v1", "v2"]


ACADEMIC: Mapping[Name, AcademicTask] = {
    "gsm8k": AcademicTask("gsm8k", "gsm8k/gsm8k.yaml", 5, "exact_match", "v1"),
    "gpqa": AcademicTask("leaderboard_gpqa", "leaderboard/gpqa/gpqa_*.yaml", 0, "acc_norm", "v2"),
    "musr": AcademicTask("leaderboard_musr", "leaderboard/musr/musr_*.yaml", 0, "acc_norm", "v2"),
    "truthfulqa": AcademicTask("truthfulqa_mc2", "truthfulqa/truthfulqa_mc2.yaml", 0, "acc", "v1"),
    "bbh": AcademicTask("leaderboard_bbh", "leaderboard/bbh_mc/[!_]*.yaml", 3, "acc_norm", "v2"),
    "arc": AcademicTask("arc_challenge", "arc/arc_challenge.yaml", 25, "acc_norm", "v1"),
}
"""Name of a benchmark -> its settings."""

_ENDINGS = {".jsonl": "json", ".json": "json", ".parquet": "parquet"}


class Academic(Settings):
    """Academic benchmarks by lm-evaluation-harness, with the settings of the Open LLM Leaderboards."""

    kind: Literal["academic"] = Field("academic", description="GSM8K, GPQA, MuSR, TruthfulQA, BBH, ARC.")
    benchmarks: tuple[Name, ...] = Field(tuple(ACADEMIC), min_length=1, description="Names of those to run.")
    backend: Literal["hf", "vllm", "local-completions"] = Field(
        "hf", description="lm-eval's model type; chat servers give no log-probs of prompts and cannot take these."
    )
    model_args: Mapping[str, Any] = Field(
        {"dtype": "auto"}, description="Further arguments of that model type, such as device or base_url."
    )
    system: str | None = Field(None, description="Said as the system message, e.g. the text that asks for a goal.")
    template_options: Mapping[str, Any] = Field(
        {}, description="Passed to the chat template, e.g. goal: 10 for checkpoints that say goals by themselves."
    )
    must_contain: str | None = Field(
        None, description="Text that has to stand in every rendered prompt; none: what system says."
    )
    chat: bool = Field(True, description="Render questions with the chat template, examples as turns.")
    limit: int | None = Field(None, ge=1, description="Questions of each task; none takes all.")
    batch_size: int | Literal["auto"] = Field(1, description="Questions computed at once.")
    data_dir: Path | None = Field(
        None,
        description="Folder TASK/SPLIT.jsonl (or .parquet) to read instead of the hub; tasks without are left out.",
    )
    seed: int = Field(0, ge=0, description="GPQA shuffles its choices by it; lm-eval's default.")
    interval: Bootstrap = Field(Bootstrap(), description="Bootstrap of the intervals.")

    @property
    def required_text(self) -> str | None:
        """Text that every rendered prompt has to contain; None for none."""
        return self.must_contain if self.must_contain is not None else self.system


def academic(
    model: Any, settings: Academic, out: str | Path | None = None, *, tell: Tell = lambda _: None
) -> list[AcademicScore]:
    """Run the benchmarks, one after another.

    Args:
        model: a folder or hub id, or a model object of lm-eval.
        settings: which, and how.
        out: folder for ``academic.json``, the log of every question (``samples/NAME.jsonl``) and lm-eval's cache; the
            same call after an interruption resumes there.
        tell: is called when a benchmark begins or was finished before, and with the state of lm-eval's own bars.

    Returns:
        scores in the order of ``settings.benchmarks``.

    Raises:
        MissingExtra: lm-eval is not installed.
        ModelError: a rendered prompt lacks the text that it has to contain.
        DataError: no task has data, or data lack a split or solved examples that lm-eval reads.
    """
    lm_eval = _import_library()
    folder, key = None if out is None else Path(out), _hash_contest(settings, model)
    finished: dict[str, AcademicScore] = {}
    if folder is not None and (folder / "academic.json").exists():
        stored = json.loads((folder / "academic.json").read_text(encoding="utf-8"))
        if stored.get("key") == key:
            finished = {record["benchmark"]: read_academic_score(record) for record in stored["scores"]}
    scores, language_model = [], None
    for name in settings.benchmarks:
        if name in finished:
            tell(WorkProgress(f"{name}: finished before", 0))
            scores.append(finished[name])
            continue
        tell(WorkProgress(f"{name}: begins", 0))
        with forward_bars(tell, f"{name}: "):
            if language_model is None:
                language_model = _load_model(model, settings)
            cache = None if folder is None else folder / f"cache-{key[:16]}"
            samples, notes = _run(lm_eval, language_model, name, settings, cache)
        score = score_samples(name, samples, how=settings.interval, settings=notes)
        scores.append(score)
        if folder is not None:
            write_atomically(
                folder / "samples" / f"{name}.jsonl", "".join(json.dumps(asdict(sample)) + "\n" for sample in samples)
            )
            finished[name] = score
            record = {
                "key": key,
                "settings": settings.model_dump(mode="json"),
                "scores": [each.record() for each in finished.values()],
            }
            write_atomically(folder / "academic.json", json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    return scores


def read_samples(path: str | Path) -> list[Sample]:
    """Read the log of a benchmark that `academic` wrote, for `compare_samples`."""
    lines = Path(path).read_text(encoding="utf-8").split("\n")
    return [Sample(**json.loads(line)) for line in lines if line]


def find_missing_data(settings: Academic) -> list[Name]:
    """List benchmarks of which ``settings.data_dir`` holds data of no task; none where it is not set.

    Raises:
        MissingExtra: lm-eval is not installed.
        DataError: the data of a task lack a split that lm-eval reads, or solved examples.
    """
    folder, lm_eval = settings.data_dir, _import_library()
    if folder is None:
        return []
    missing = []
    for name in settings.benchmarks:
        benchmark = ACADEMIC[name]
        tasks = [_read_task(path) for path in _list_task_files(lm_eval, benchmark)]
        # Every task is looked at: one without its solved examples must not wait behind one with them.
        files = [_find_files(folder, task, benchmark.examples) for task in tasks]
        if not any(files):
            missing.append(name)
    return missing


def _list_task_files(lm_eval: Any, benchmark: AcademicTask) -> list[Path]:
    return sorted((Path(lm_eval.__file__).parent / "tasks").glob(benchmark.files))


def _import_library() -> Any:
    try:
        return importlib.import_module("lm_eval")
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "lm_eval", "eval") from error


def _load_model(model: Any, settings: Academic) -> Any:
    """Return lm-eval's model object, whose chat template keeps the required text."""
    if isinstance(model, str | Path):
        registry = importlib.import_module("lm_eval.api.registry")
        named = {"model" if settings.backend == "local-completions" else "pretrained": str(model)}
        # Without a device lm-eval takes "cuda", on machines without CUDA too.
        device = {"device": resolve_device("auto")} if settings.backend == "hf" else {}
        options = {"chat_template_args": dict(settings.template_options)} if settings.template_options else {}
        model = registry.get_model(settings.backend).create_from_arg_obj(
            {**named, **device, **settings.model_args, **options}, {"batch_size": settings.batch_size}
        )
    # A run takes hours: what the template drops must be noticed in its first second.
    if settings.required_text is not None and settings.chat:
        system = [] if settings.system is None else [{"role": "system", "content": settings.system}]
        turns = [*system, {"role": "user", "content": "?"}]
        _check_prompts([str(model.apply_chat_template(turns))], settings)
    return model


def _check_prompts(prompts: Sequence[str], settings: Academic) -> None:
    text = settings.required_text
    without = [prompt for prompt in prompts if text is not None and text not in prompt]
    if without:
        raise ModelError(
            f"{len(without)} of {len(prompts)} rendered prompts do not contain {str(text)[:80]!r}; the first begins "
            f"{without[0][:120]!r}",
            remedy="the chat template drops system messages: use one that takes them, or a checkpoint that says goals "
            "by itself with template_options",
        )


def _run(
    lm_eval: Any, language_model: Any, name: Name, settings: Academic, cache: Path | None
) -> tuple[list[Sample], dict[str, Any]]:
    benchmark = ACADEMIC[name]
    if cache is not None:
        cache.parent.mkdir(parents=True, exist_ok=True)
    with _open_tasks(lm_eval, benchmark, settings) as (tasks, manager, left_out):
        results = lm_eval.simple_evaluate(
            model=language_model,
            tasks=tasks,
            num_fewshot=benchmark.examples,
            system_instruction=settings.system,
            apply_chat_template=settings.chat,
            fewshot_as_multiturn=settings.chat,
            limit=settings.limit,
            log_samples=True,
            bootstrap_iters=0,
            task_manager=manager,
            random_seed=settings.seed,
            use_cache=None if cache is None else str(cache),
        )
    log = results["samples"]
    # The calls of a record are a list, or in later versions a mapping.
    arguments = [record["arguments"] for records in log.values() for record in records]
    calls = [call for each in arguments for call in (each.values() if isinstance(each, Mapping) else each)]
    _check_prompts([str(call[0]) for call in calls], settings)
    notes = {
        "examples": benchmark.examples, "metric": benchmark.metric, "leaderboard": benchmark.leaderboard,
        "limit": settings.limit, "chat": settings.chat, "left out for want of data": left_out,
        "lm_eval": getattr(lm_eval, "__version__", "unknown"),
    }  # fmt: skip
    # Samples, not the harness's own means: intervals draw questions.
    samples = parse_samples(log, benchmark.metric)
    # The first leaderboard showed shares as they are.
    return samples if benchmark.leaderboard == "v2" else [replace(sample, choices=0) for sample in samples], notes


@contextmanager
def _open_tasks(
    lm_eval: Any, benchmark: AcademicTask, settings: Academic
) -> Iterator[tuple[list[str], Any, list[str]]]:
    """Yield names of tasks, their task manager, and tasks without local data.

    Tasks on local files include lm-eval's own YAML, and replace its data.
    """
    managers = importlib.import_module("lm_eval.tasks")
    library = importlib.import_module("datasets").config
    users_cache = library.HF_DATASETS_CACHE
    with tempfile.TemporaryDirectory() as folder:
        # GPQA shuffles its choices while questions are prepared. In the user's cache those of an earlier seed would be
        # found; without any cache lm-eval would shuffle again between asking and scoring.
        if settings.data_dir is not None or benchmark is ACADEMIC["gpqa"]:
            library.HF_DATASETS_CACHE = Path(folder) / "prepared"
        try:
            if settings.data_dir is None:
                yield [benchmark.tasks], managers.TaskManager(), []
                return
            names, left_out = [], []
            for path in _list_task_files(lm_eval, benchmark):
                task = _read_task(path)
                name, files = task["task"], _find_files(settings.data_dir, task, benchmark.examples)
                if not files:
                    left_out.append(name)
                    continue
                local = {
                    "include": str(path), "dataset_path": _ENDINGS[Path(next(iter(files.values()))).suffix],
                    "dataset_name": None, "dataset_kwargs": {"data_files": files}, "task": name,
                }  # fmt: skip
                (Path(folder) / f"{name}.yaml").write_text(yaml.safe_dump(local), encoding="utf-8")
                names.append(name)
            if not names:
                raise DataError(
                    f"{settings.data_dir} has data of none of {', '.join(left_out) or benchmark.tasks}",
                    remedy="put them there as TASK/SPLIT.jsonl, e.g. gsm8k/train.jsonl and gsm8k/test.jsonl",
                )
            yield names, managers.TaskManager(include_path=folder, include_defaults=False), left_out
        finally:
            library.HF_DATASETS_CACHE = users_cache


class _TaskLoader(yaml.SafeLoader):
    """Reads a task of lm-eval without the Python functions that it names."""


_TaskLoader.add_constructor("!function", lambda loader, node: str(node.value))


def _read_task(path: Path) -> dict[str, Any]:
    """Read a task's YAML, and what it includes."""
    task: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), _TaskLoader)
    included = task.pop("include", None)
    return task if included is None else _read_task(path.parent / included) | task


def _find_files(folder: Path, task: Mapping[str, Any], examples: int) -> dict[str, str]:
    """Return split -> file of a task; empty where there is no file.

    Args:
        folder: of the data of all tasks.
        task: its YAML.
        examples: solved examples before every question.

    Raises:
        DataError: the files lack a split that lm-eval reads, hold fewer examples, or are of several kinds.
    """
    place = folder / task["task"]
    files = {path.stem: str(path.resolve()) for path in sorted(place.glob("*")) if path.suffix in _ENDINGS}
    if not files:
        return {}
    kinds = {_ENDINGS[Path(file).suffix] for file in files.values()}
    if len(kinds) > 1:
        raise DataError(
            f"{task['task']} has files of several kinds: {', '.join(sorted(files.values()))}",
            remedy="give all splits as files of one kind",
        )
    questions = task.get("test_split") or task["validation_split"]
    needs = {questions: 1}
    # Some tasks write their examples into the YAML.
    if examples and "samples" not in (task.get("fewshot_config") or {}):
        solved = task.get("fewshot_split") or task.get("training_split") or task.get("validation_split") or questions
        needs[solved] = examples + (solved == questions)
    for split, least in needs.items():
        rows = 0
        if split in files and files[split].endswith(".parquet"):
            rows = int(pl.scan_parquet(files[split]).select(pl.len()).collect().item())
        elif split in files:
            rows = sum(1 for _ in read_records(files[split]))
        if rows < least:
            raise DataError(
                f"{place} has {rows} rows of the split {split}, of which lm-evaluation-harness takes {least} at least",
                remedy=f"put the published split there as {split}.jsonl, or leave the task out",
            )
    return files


def _hash_contest(settings: Academic, model: Any) -> str:
    """Hash what a finished score depends on: the weights and all settings but the list of benchmarks.

    Weights and adapters are named by what they hold, since a folder may get other ones.

    Raises:
        ModelError: the hub's model cannot be read.
    """
    arguments = settings.model_args
    if not isinstance(model, str | Path):
        names = [str(getattr(model, "pretrained", type(model).__name__))]
    elif settings.backend == "local-completions":
        names = [str(model)]
    else:
        trusted = bool(arguments.get("trust_remote_code", False))
        names = [name_weights(str(model), arguments.get("revision"), trust_remote_code=trusted)]
        adapters = [str(arguments[name]) for name in ("lora_local_path", "peft") if arguments.get(name)]
        names += map(fingerprint_of_model, adapters)
    text = json.dumps([names, settings.model_dump(mode="json", exclude={"benchmarks"})], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
