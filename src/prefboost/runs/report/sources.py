"""Content of the folders and files that a report is made of, read as it is; a run may still be at work in them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl

from prefboost.diagnosis import Inspection, inspect
from prefboost.engines.budget import Spend
from prefboost.engines.store.book import StoreBook
from prefboost.engines.store.faults import connect_read_only, store_fault
from prefboost.engines.store.opening import find_segments
from prefboost.engines.store.segments.spend import SegmentBook
from prefboost.errors import DataError, Place, RunError
from prefboost.evaluation.results import Results
from prefboost.locks import is_lock_held
from prefboost.reporting.evaluation.page import ScoredBenchmark
from prefboost.reporting.run.record import RunRecord, TrainingRecord
from prefboost.runs.evaluate.evaluate import read_judge_verdicts
from prefboost.runs.pipelines.goal_pairs import PAIRS
from prefboost.runs.pipelines.on_policy import ANSWERS, SCORED
from prefboost.runs.reproduce.cells import Cell
from prefboost.runs.reproduce.held_out import TEST
from prefboost.runs.reproduce.reproduce import CELLS
from prefboost.shelf import open_shelf
from prefboost.training.claim import LOCK, LOG, MANIFEST, REPORT, TRAINING_LOCK, read_log

__all__ = [
    "RESULTS",
    "ReportSources",
    "inspect_file",
    "is_at_work",
    "list_best_cells",
    "list_trainings",
    "read_best_cells",
    "read_evaluation",
    "read_folder",
    "read_json_file",
    "read_run",
    "read_spending",
    "read_sources",
]

RESULTS, VERDICTS = "results.json", "verdicts.jsonl"
"""Names in the folder of an evaluation, a reproduction, or the demo."""


@dataclass
class ReportSources:
    """All that was read.

    Args:
        runs: of pipelines, and single trainings.
        evaluations: folder -> benchmark with its verdicts.
        completions: folder -> model -> completions that an evaluation or the demo asked for.
        comparisons: folder -> results of `prefboost reproduce`.
        demos: folder -> results of `prefboost demo`.
        diagnoses: file -> record of `prefboost diagnose`.
    """

    runs: list[RunRecord] = field(default_factory=list)
    evaluations: dict[str, ScoredBenchmark] = field(default_factory=dict)
    completions: dict[str, dict[str, pl.DataFrame]] = field(default_factory=dict)
    comparisons: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    demos: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    diagnoses: dict[str, Mapping[str, Any]] = field(default_factory=dict)


def is_at_work(path: Path) -> bool:
    """Tell whether a process holds the folder of a run."""
    return any(is_lock_held(path / name) for name in (LOCK, TRAINING_LOCK))


def read_sources(paths: Sequence[Path]) -> ReportSources:
    """Read folders of runs, evaluations, reproductions and the demo, and files of diagnoses.

    Raises:
        RunError: there is nothing at a path, or nothing that a report is made of.
        DataError: a file of results cannot be read.
    """
    sources = ReportSources()
    for path in paths:
        if not path.exists():
            raise RunError("there is nothing to report on", remedy="give a run folder", place=Place(str(path)))
        before = _count(sources)
        if path.is_dir():
            read_folder(path, sources)
        for file in [path] if path.is_file() else sorted(path.glob("*.json")):
            record = read_json_file(file)
            if isinstance(record, Mapping) and "diagnosis" in record:
                sources.diagnoses[file.stem if path.is_dir() else str(file)] = record
        if _count(sources) == before:
            raise RunError(
                "this is no folder of train, run, evaluate, reproduce or demo, and no report of diagnose",
                remedy="give a folder with manifest.json or results.json, or a .json file that diagnose wrote",
                place=Place(str(path)),
            )
    return sources


def _count(sources: ReportSources) -> int:
    return sum(len(getattr(sources, name)) for name in vars(sources))


def read_folder(path: Path, sources: ReportSources) -> None:
    """Read whatever a folder is: a run, an evaluation, a reproduction, or the demo."""
    manifest, results = read_json_file(path / MANIFEST), read_json_file(path / RESULTS)
    taken = {run.name for run in sources.runs}
    name = path.name if path.name not in taken else str(path)
    if isinstance(results, Mapping) and "claims" in results:
        sources.comparisons[name] = results
        sources.completions[name] = read_best_cells(path, results, manifest or {})
        sources.runs.append(RunRecord(name, manifest or {}, running=is_at_work(path)))
    elif isinstance(results, Mapping) and "policies" in results:
        sources.demos[name] = results
        files = sorted(path.glob("answers_*.parquet"))
        sources.completions[name] = {file.stem.removeprefix("answers_"): pl.read_parquet(file) for file in files}
        # Every policy of the demo is a training with a folder of its own.
        sources.runs += [read_run(each, each.name) for each in sorted(path.iterdir()) if (each / LOG).exists()]
    # Several benchmarks have a folder each.
    for folder in (path, *sorted(each for each in path.iterdir() if each.is_dir())):
        record = read_json_file(folder / RESULTS)
        if isinstance(record, Mapping) and "benchmark" in record:
            read_evaluation(folder, record, sources)
    if isinstance(manifest, Mapping) and name not in sources.comparisons:
        sources.runs.append(read_run(path, name))


def read_best_cells(path: Path, results: Mapping[str, Any], manifest: Mapping[str, Any]) -> dict[str, pl.DataFrame]:
    """Read the scored completions of every arm of a reproduction, at its best setting and with the first seed."""
    files = {arm: cell / TEST / SCORED for arm, cell in list_best_cells(path, results, manifest).items()}
    return {arm: pl.read_parquet(file) for arm, file in files.items() if file.exists()}


def list_best_cells(path: Path, results: Mapping[str, Any], manifest: Mapping[str, Any]) -> dict[str, Path]:
    """List, by arm of a reproduction, the folder of the cell at the best setting and with the first seed."""
    seed = next(iter(manifest.get("settings", {}).get("seeds", ())), 0)
    cells = {
        figure["arm"]: Cell(figure["arm"], figure["beta"], figure["learning_rate"], seed)
        for figure in results["figures"]
        if figure["setting"] == "best"
    }
    return {arm: path / CELLS / cell.name for arm, cell in cells.items()}


def read_evaluation(folder: Path, record: Mapping[str, Any], sources: ReportSources) -> None:
    """Read one benchmark with its verdicts and completions."""
    verdicts = read_judge_verdicts(folder / VERDICTS) if (folder / VERDICTS).exists() else []
    sources.evaluations[str(folder)] = ScoredBenchmark(Results.of(record), verdicts)
    frames = {}
    scores: dict[tuple[str, str], list[float]] = {}
    for verdict in verdicts:
        if verdict.value is not None:
            scores.setdefault((verdict.model, verdict.uid), []).append(verdict.value)
    for file in sorted((folder / "completions").glob("*.jsonl")):
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        frames[file.stem] = pl.DataFrame(
            {
                "prompt_id": [row["uid"] for row in rows],
                "prompt": [row["instruction"] for row in rows],
                "completion": [row["output"] for row in rows],
                "goal": pl.Series([row.get("goal") for row in rows], dtype=pl.Float64),
                "score": pl.Series(
                    [_mean(scores.get((row["generator"], row["uid"]))) for row in rows], dtype=pl.Float64
                ),
            }
        )
    if frames:
        # By goal, where a model was asked for several: of 10 and 7 the name of the first comes first.
        goals = {name: float(str(frame["goal"].max() or -1.0)) for name, frame in frames.items()}
        ordered = sorted(frames, key=lambda name: (name.partition("@")[0], goals[name]))
        sources.completions[str(folder)] = {name: frames[name] for name in ordered}


def _mean(values: Sequence[float] | None) -> float | None:
    return sum(values) / len(values) if values else None


def read_run(path: Path, name: str) -> RunRecord:
    """Read the folder of a run or of a single training."""
    trainings, inspection = {}, None
    for label, folder in list_trainings(path):
        file = folder / PAIRS
        pairs = pl.read_parquet(file) if file.exists() else None
        trainings[label] = TrainingRecord(read_log(folder / LOG), read_json_file(folder / REPORT) or {}, pairs)
        if pairs is not None:
            status = file.stat()
            inspection = inspect_file(file, (status.st_mtime_ns, status.st_size))
    manifest = read_json_file(path / MANIFEST) or {}
    stages = {f"{stage}/evaluate": stage.replace(" ", "-") for stage in ("start", *trainings) if stage}
    completions = {
        stage: pl.read_parquet(path / folder / ANSWERS)
        for stage, folder in stages.items()
        if (path / folder / ANSWERS).exists()
    }
    spending = {
        str(store.relative_to(path)).removesuffix(".store"): spent
        for store in sorted([*path.glob("*.store"), *path.glob("*/*.store")])
        if (spent := read_spending(store)).requests
    }
    return RunRecord(name, manifest, trainings, is_at_work(path), completions, inspection, spending)


def read_spending(store: Path) -> Spend:
    """Read what all calls that filled a store have spent; zero where it is empty.

    Raises:
        RunError: the store cannot be read.
    """
    if (segments := find_segments(store)) is not None:
        return SegmentBook(open_shelf(segments), "report").total()
    file = store / "rows.sqlite"
    if not file.exists():
        return Spend()
    # Not through `Store`, which would take its number types over into this process.
    try:
        with closing(connect_read_only(file, "")) as connection:
            return StoreBook(lambda *_: nullcontext(connection.execute)).total()
    except sqlite3.Error as error:
        raise store_fault(error, store) from error


def list_trainings(path: Path) -> Iterator[tuple[str, Path]]:
    """List the trainings of a run: the folder itself, and the folders in it that hold one."""
    if any((path / name).exists() for name in (LOG, PAIRS)):
        yield "", path
    folders = [each for each in path.iterdir() if each.is_dir()]
    # Shorter names first: of round-10 and round-2 the second was trained first.
    for folder in sorted(folders, key=lambda each: (len(each.name), each.name)):
        if any((folder / name).exists() for name in (LOG, PAIRS)):
            yield folder.name.replace("-", " "), folder


@lru_cache(maxsize=16)
def inspect_file(path: Path, version: tuple[int, int]) -> Inspection:
    """Inspect a file; while a run is watched, its pairs are inspected once for each version of the file."""
    return inspect(path)


def read_json_file(path: Path) -> Any:
    """Read a JSON file; None where there is none.

    Raises:
        DataError: it is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, OSError) as error:
        raise DataError(
            f"the file cannot be read: {error}", remedy="give another folder", place=Place(str(path))
        ) from None
