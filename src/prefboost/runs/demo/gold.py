"""Gold score of the demo: what an answer is worth. No policy is trained on it; it is only measured."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Literal

import polars as pl
from pydantic import Field

from prefboost.preferences import FittedScale
from prefboost.runs.demo.categories import MEMBERS
from prefboost.runs.demo.tasks import WritingTask
from prefboost.scoring.rules.rule import words_of
from prefboost.scoring.rules.scorer import join_turns
from prefboost.scoring.rules.sentences import sentences_of
from prefboost.settings import Settings
from prefboost.tables import SCORED_COMPLETIONS, Step, Table, reject_where

__all__ = ["GoldScorer", "LEAST_IN_ITEM", "LEAST_IN_SENTENCE", "check_gold", "score_gold", "with_gold"]

LEAST_IN_SENTENCE = 6
"""Words that a sentence needs to count as one."""

LEAST_IN_ITEM = 4
"""Words that an item of a list needs, the item itself included."""

_LONGEST_REPEAT = 3
"""Words in a row that may occur twice."""

_LONGEST_QUOTE = 5
"""Words in a row that may be the prompt's."""

_ITEM = re.compile(r"^\s*\d+[.)]\s+(.+)$", re.MULTILINE)


def check_gold(task: WritingTask, text: str) -> dict[str, bool]:
    """Check an answer; every check needs text that says something, so empty or short text fails all of them.

    Returns:
        Five checks, by name: ``length`` (within both bounds), ``form`` (exactly so many sentences or items, each of at
        least so many words; items are distinct members of the category), ``keywords`` (each in such a sentence or
        item), ``topic`` (in such a sentence; for lists: at least one member of the category), ``wording`` (at least
        the fewest words, no four words in a row twice, no six words in a row of the prompt).
    """
    words = [word.lower() for word in words_of(text)]
    if task.is_list:
        parts, least = _ITEM.findall(text), LEAST_IN_ITEM
    else:
        parts, least = sentences_of(text), LEAST_IN_SENTENCE
    whole = [part for part in parts if len(words_of(part)) >= least]
    members = [_name_member(task.subject, part) for part in whole] if task.is_list else []
    # Parts of a few words break the form, whatever their number: they are how short text games a count.
    form = len(parts) == len(whole) == task.count
    if task.is_list:
        on_topic = any(member is not None for member in members)
        form = form and None not in members and len(set(members)) == task.count
    else:
        noun = re.escape(task.subject.split()[-1])
        on_topic = any(re.search(rf"\b{noun}(s|es)?\b", part, re.IGNORECASE) for part in whole)
    prompt = _runs([word.lower() for word in words_of(task.write_prompt())], _LONGEST_QUOTE + 1)
    repeats = _runs(words, _LONGEST_REPEAT + 1)
    return {
        "length": task.low <= len(words) <= task.high,
        "form": form,
        "keywords": all(
            any(re.search(rf"\b{re.escape(word)}\b", part, re.IGNORECASE) for part in whole) for word in task.keywords
        ),
        "topic": on_topic,
        "wording": len(words) >= task.low
        and len(set(repeats)) == len(repeats)
        and not set(prompt) & set(_runs(words, _LONGEST_QUOTE + 1)),
    }


def score_gold(task: WritingTask, text: str) -> float:
    """Return the gold score, 1 to 10: the share of the checks that hold."""
    checks = check_gold(task, text)
    return 1 + 9 * sum(checks.values()) / len(checks)


def with_gold(completions: pl.DataFrame) -> pl.DataFrame:
    """Add columns ``gold`` (1 to 10) and ``gold.CHECK`` (whether it holds).

    Args:
        completions: with ``completion`` (messages) and ``task`` (JSON).
    """
    checks = [
        check_gold(WritingTask.model_validate_json(task), join_turns(completion))
        for completion, task in completions.select("completion", "task").iter_rows()
    ]
    columns = [pl.Series(f"gold.{name}", [row[name] for row in checks], pl.Boolean) for name in checks[0]]
    score = pl.Series("gold", [1 + 9 * sum(row.values()) / len(row) for row in checks], pl.Float64)
    return completions.with_columns(score, *columns)


class GoldScorer(Settings):
    """Scores answers to the demo's tasks by their gold score: the truth behind the proxy that is trained on."""

    kind: Literal["prefboost.runs.demo.gold:GoldScorer"] = Field(
        "prefboost.runs.demo.gold:GoldScorer", description="The share of two-sided checks that hold."
    )

    def score(self, table: Table) -> Table:
        """Score every completion; prompts that are no task of the demo are rejects (see `Scorer`)."""
        texts = [str(prompt[-1]["content"]) for prompt in table.frame["prompt"].to_list()]
        tasks = [WritingTask.from_prompt(text) for text in texts]
        scores = [
            None if task is None else score_gold(task, join_turns(completion))
            for task, completion in zip(tasks, table.frame["completion"].to_list(), strict=True)
        ]
        bare = table.frame.drop(name for name in table.frame.columns if name == "score" or name.startswith("score."))
        frame, rejects = reject_where(
            bare.with_columns(score=pl.Series(scores, dtype=pl.Float64)),
            pl.col("score").is_null(),
            stage="score",
            reason="the prompt is no task of the demo",
            path=table.path,
            value=pl.col("prompt").list.last().struct.field("content").str.slice(0, 120),
        )
        step = Step("score", self.model_dump(), len(table), frame.height, dict(Counter(rejects["reason"].to_list())))
        scale = FittedScale(kind="declared", knots=(1.0, 10.0), values=(1.0, 10.0))
        return table.derive(SCORED_COMPLETIONS, frame, step, rejects=rejects, scales={"": scale})


def _name_member(category: str, item: str) -> str | None:
    """Return the first member of the category that an item names; None where it names none."""
    for word in (word.lower() for word in words_of(item)):
        for singular in (word, word.removesuffix("s"), word.removesuffix("es"), word.removesuffix("ies") + "y"):
            if singular in MEMBERS[category]:
                return singular
    return None


def _runs(words: Sequence[str], length: int) -> list[tuple[str, ...]]:
    return [tuple(words[at : at + length]) for at in range(len(words) - length + 1)]
