"""Texts side by side: pairs under their goals, or completions of one prompt; evenly chosen from many rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from prefboost.chat import format_number, join_text
from prefboost.reporting.texts import cut_text

__all__ = [
    "TextSample",
    "SampleCell",
    "Samples",
    "collect_samples",
    "choose_completions",
    "choose_pairs",
    "choose_scored",
]

MOST_CHARACTERS = 2_000
"""Characters of a text; 300 samples of three such texts are 2 MB of page."""

MOST_BYTES = 4_000_000
"""Bytes of all texts of a page, which stays below 8 MB with its figures and their library."""

MOST_CELLS = 8
"""Completions of a prompt that are shown, where a file has no goals to tell them apart."""


@dataclass(frozen=True)
class SampleCell:
    """A completion: what it is, its text, its score, the goal it was asked for ("": none), and a further remark."""

    label: str
    text: str
    score: float | None
    goal: str = ""
    remark: str = ""


@dataclass(frozen=True)
class TextSample:
    """Completions of one prompt.

    Args:
        group: the file or stage that they come from.
        prompt: its text.
        cells: completions.
        pair: the cells are the two sides of a pair, shown and hidden together.
    """

    group: str
    prompt: str
    cells: tuple[SampleCell, ...]
    pair: bool = False

    @property
    def size(self) -> int:
        """Bytes of its texts."""
        return len(self.prompt.encode("utf-8", "replace")) + sum(
            len(cell.text.encode("utf-8", "replace")) for cell in self.cells
        )


@dataclass(frozen=True)
class Samples:
    """Samples of a page: a sentence on how they were chosen, and the samples with all groups and goals among them."""

    note: str
    rows: tuple[TextSample, ...]

    @property
    def groups(self) -> list[str]:
        """Groups in the order of their first sample."""
        return list(dict.fromkeys(sample.group for sample in self.rows))

    @property
    def goals(self) -> list[str]:
        """Goals in rising order."""
        return sorted({cell.goal for sample in self.rows for cell in sample.cells if cell.goal}, key=float)


def collect_samples(parts: Sequence[tuple[Sequence[TextSample], int]]) -> Samples | None:
    """Collect the samples of several groups; None where there are none.

    Args:
        parts: samples, and of how many they were chosen.
    """
    chosen_parts = [samples for samples, _ in parts]
    share = MOST_BYTES / max(1, sum(sample.size for samples in chosen_parts for sample in samples))
    if share < 1:
        # Long texts, or ones of three bytes per character: fewer of each group, still from the first to the last.
        chosen_parts = [
            [samples[int(at / share)] for at in range(int(len(samples) * share))] for samples in chosen_parts
        ]
    rows = tuple(sample for samples in chosen_parts for sample in samples)
    total = sum(count for _, count in parts)
    if not rows:
        return None
    chosen = f"{len(rows):,} of {total:,}, evenly spaced over the rows" if total > len(rows) else f"All {total:,}"
    return Samples(f"{chosen}. Texts are shown up to {MOST_CHARACTERS:,} characters.", rows)


def choose_pairs(pairs: pl.DataFrame, group: str, limit: int) -> list[TextSample]:
    """Choose pairs of GoalPairs or PreferencePairs, all goals of a pair together.

    Args:
        pairs: with prompt, chosen and rejected; score and goal columns where there are any.
        group: name of the samples.
        limit: about how many rows.
    """
    if "pair_id" in pairs.columns and pairs.height:
        ids = pairs["pair_id"].unique(maintain_order=True)
        views = max(1, round(pairs.height / ids.len()))
        chosen = pairs.filter(
            pl.col("pair_id").is_in(_space_evenly(ids.to_frame(), limit // views)["pair_id"].implode())
        )
    else:
        chosen = _space_evenly(pairs, limit)
    samples = []
    for row in chosen.iter_rows(named=True):
        goal = _format_goal(row)
        sides = [SampleCell(side, _show(row[side]), row.get(f"score_{side}"), goal) for side in ("chosen", "rejected")]
        samples.append(TextSample(group, _show(row["prompt"]), tuple(sides), pair=True))
    return samples


def choose_completions(frames: Mapping[str, pl.DataFrame], group: str, limit: int) -> list[TextSample]:
    """Choose prompts, and show the completions of all models and goals side by side.

    Args:
        frames: name of a model or stage -> its completions, with prompt_id, prompt and completion; score and goal where
            there are any; a second score ``gold`` is shown as a remark. Of several completions for one goal the first
            is shown.
        group: name of the samples.
        limit: most prompts.
    """
    prompts: dict[str, str] = {}
    ids = pl.concat([frame.select("prompt_id") for frame in frames.values()]).unique(maintain_order=True)
    # In the order of the file, which sorting by goal below would lose.
    cells: dict[str, list[SampleCell]] = {name: [] for name in _space_evenly(ids, limit)["prompt_id"].to_list()}
    for name, frame in frames.items():
        keys = [column for column in ("prompt_id", "goal") if column in frame.columns]
        first = frame.filter(pl.col("prompt_id").is_in(list(cells))).unique(keys, keep="first", maintain_order=True)
        for row in first.sort(keys, nulls_last=False, maintain_order=True).iter_rows(named=True):
            # A question without the goal's words reads better where a file has one.
            prompts.setdefault(row["prompt_id"], _show(row.get("question") or row["prompt"]))
            remark = "" if row.get("gold") is None else f"gold score {row['gold']:.4g}"
            cell = SampleCell(name, _show(row["completion"]), row.get("score"), _format_goal(row), remark)
            cells[row["prompt_id"]].append(cell)
    return [TextSample(group, prompts[prompt_id], tuple(its)) for prompt_id, its in cells.items()]


def choose_scored(completions: pl.DataFrame, group: str, limit: int) -> list[TextSample]:
    """Choose completions, those of one prompt side by side.

    Args:
        completions: with prompt_id, prompt and completion; model, score and goal where there are any.
        group: name of the samples.
        limit: most prompts.
    """
    samples = []
    for (_,), rows in completions.group_by("prompt_id", maintain_order=True):
        listed = rows.head(MOST_CELLS).to_dicts()
        cells = [
            SampleCell(row.get("model") or "completion", _show(row["completion"]), row.get("score"), _format_goal(row))
            for row in listed
        ]
        hidden = rows.height - len(listed)
        cells += [SampleCell("…", f"{hidden:,} more completions of this prompt", None)] if hidden else []
        samples.append(TextSample(group, _show(listed[0]["prompt"]), tuple(cells)))
        if len(samples) == limit:
            break
    return samples


def _space_evenly(frame: pl.DataFrame, limit: int) -> pl.DataFrame:
    """Choose rows at equal distances, so that a sorted file is seen from its first row to its last."""
    if frame.height <= limit:
        return frame
    return frame[[at * frame.height // max(1, limit) for at in range(max(1, limit))]]


def _format_goal(row: Mapping[str, Any]) -> str:
    goal = row.get("goal")
    return "" if goal is None or not math.isfinite(goal) else format_number(goal)


def _show(messages: Any) -> str:
    """Write messages as text, with their roles where there are several."""
    if isinstance(messages, str):
        text = messages
    elif len(messages) == 1:
        text = join_text(messages)
    else:
        text = "\n\n".join(f"{message['role']}: {message['content']}" for message in messages)
    return cut_text(text, MOST_CHARACTERS)
