"""Files shaped like RewardBench 1, RewardBench 2 and RM-Bench: several right and wrong completions per prompt.

RewardBench: prompt, chosen, rejected, subset, id. RewardBench 2: the same with lists of completions. RM-Bench: lists of
three styles of each, and a domain.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from prefboost.errors import DataError, Place, UnreadableFile
from prefboost.evaluation.record_texts import require_text
from prefboost.evaluation.reward_models.scores import RewardItem
from prefboost.tables import COMPLETIONS, MESSAGES, Table, conform

__all__ = ["RewardSet", "detect_bench", "read_bench_rows", "read_reward_set", "build_reward_set", "collect_items"]

_READERS: Mapping[str, Callable[[Path], Any]] = {
    ".parquet": lambda path: pl.read_parquet(path).to_dicts(),
    ".jsonl": lambda path: [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()],
    ".json": lambda path: json.loads(path.read_text(encoding="utf-8")),
}
"""File ending -> reader of its records."""


@dataclass(frozen=True)
class RewardSet:
    """The completions of a benchmark, and their places in its items.

    Args:
        bench: rewardbench, rewardbench2 or rm_bench.
        table: Completions, one row per completion.
        items: id, subset and numbers of right and wrong completions of every prompt.
    """

    bench: str
    table: Table
    items: tuple[tuple[str, str, int, int], ...]

    def first(self, prompts: int) -> RewardSet:
        """Return the first prompts with their completions."""
        frame = self.table.frame.filter(pl.col("row") < prompts)
        return RewardSet(self.bench, replace(self.table, frame=frame), self.items[:prompts])


def detect_bench(columns: Sequence[str], first: Mapping[str, Any]) -> str | None:
    """Return the benchmark whose shape the columns and the first record have; None: a file of another kind."""
    if not {"prompt", "chosen", "rejected"} <= set(columns):
        return None
    if isinstance(first["rejected"], list) and all(isinstance(text, str) for text in first["rejected"]):
        return "rm_bench" if "domain" in columns else "rewardbench2" if "subset" in columns else None
    return "rewardbench" if "subset" in columns and isinstance(first["rejected"], str) else None


def read_reward_set(path: str | Path) -> RewardSet | None:
    """Read a benchmark's file, or None where it is shaped like none (a plain file of pairs, say).

    Raises:
        UnreadableFile: the bytes are not what the name promises.
        DataError: a record is not like the first.
    """
    rows = read_bench_rows(path)
    if not rows:
        return None
    bench = detect_bench(list(rows[0]), rows[0])
    return None if bench is None else build_reward_set(rows, bench, str(path))


def read_bench_rows(path: str | Path) -> list[dict[str, Any]]:
    """Read the records of one local file; none where it is another kind of source.

    Raises:
        UnreadableFile: the bytes are not what the name promises.
    """
    file = Path(path)
    if file.suffix not in _READERS or not file.is_file():
        return []
    try:
        rows = _READERS[file.suffix](file)
    except (ValueError, UnicodeDecodeError, pl.exceptions.PolarsError) as error:
        raise UnreadableFile(
            f"{type(error).__name__}: {str(error)[:120]}",
            remedy=f"give a whole {file.suffix} file",
            place=Place(str(file)),
        ) from error
    return rows if isinstance(rows, list) and rows and isinstance(rows[0], dict) else []


def build_reward_set(rows: Sequence[Mapping[str, Any]], bench: str, path: str | None = None) -> RewardSet:
    """Turn the records of a benchmark into completions to score.

    Args:
        rows: records of the file.
        bench: rewardbench, rewardbench2 or rm_bench.
        path: path of the file, for messages.

    Raises:
        DataError: a record lacks a prompt, or right or wrong completions.
    """
    column = "domain" if bench == "rm_bench" else "subset"
    items, completions = [], []
    for at, row in enumerate(rows):
        sides = [
            [text] if isinstance(text := row.get(side), str) else list(text or ()) for side in ("chosen", "rejected")
        ]
        texts = [text for side in sides for text in side]
        if not row.get("prompt") or not all(sides) or not all(isinstance(text, str) and text for text in texts):
            raise DataError(
                "a record needs a prompt, and chosen and rejected completions that are text",
                remedy="give the benchmark's file as it was published",
                place=Place(path, row=at),
            )
        prompt_id = str(row.get("id", at))
        items.append((prompt_id, str(row.get(column) or "(none)"), len(sides[0]), len(sides[1])))
        for place, text in enumerate(texts):
            completions.append(
                {
                    "row": at,
                    "prompt_id": str(at),
                    "prompt": _build_prompt(row["prompt"], Place(path, row=at)),
                    "completion_id": f"{at}/{place}",
                    "completion": [_build_message("assistant", text)],
                    "source": items[-1][1],
                }
            )
    frame = pl.DataFrame(
        completions,
        schema={
            "row": pl.Int64, "prompt_id": pl.String, "prompt": MESSAGES, "completion_id": pl.String,
            "completion": MESSAGES, "source": pl.String,
        },
    )  # fmt: skip
    return RewardSet(bench, Table(COMPLETIONS, conform(frame, COMPLETIONS, path=path), path=path), tuple(items))


def collect_items(reward_set: RewardSet, scored: Table) -> tuple[list[RewardItem], dict[str, int]]:
    """Return items whose every completion has a score, and reason -> number of other prompts.

    Args:
        reward_set: the benchmark.
        scored: its table with scores; rows that could not be scored are rejects.
    """
    names = scored.frame.drop_nulls("score")
    scores = dict(zip(names["completion_id"], names["score"], strict=True))
    reasons = dict(scored.rejects.select("id", "reason").iter_rows())
    items, missing = [], dict[str, int]()
    for at, (item_id, subset, right, wrong) in enumerate(reward_set.items):
        values = [scores.get(f"{at}/{place}") for place in range(right + wrong)]
        present = [value for value in values if value is not None]
        if len(present) < len(values):
            reason = reasons.get(f"{at}/{values.index(None)}", "the scorer gave no score")
            missing[reason] = missing.get(reason, 0) + 1
            continue
        items.append(RewardItem(item_id, subset, tuple(present[:right]), tuple(present[right:])))
    return items, missing


def _build_prompt(prompt: Any, place: Place) -> list[dict[str, Any]]:
    if isinstance(prompt, str):
        return [_build_message("user", prompt)]
    turns = prompt if isinstance(prompt, list) and all(isinstance(turn, dict) for turn in prompt) else [{}]
    return [
        _build_message(*(require_text(turn.get(name), f"prompt[{at}].{name}", place) for name in ("role", "content")))
        for at, turn in enumerate(turns)
    ]


def _build_message(role: str, content: str) -> dict[str, Any]:
    return {"role": role, "content": content, "extra": None}
