"""QA-Feedback as the benchmark of synthetic pairs reads it: short prompts, whole passages, and the experts' answers.

The generator sees the sentences of the passages that are nearest to the question, so that a prompt stays short; reward
models see all passages. The answer that an expert wrote makes a judge that needs no model: see `overlap`.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

import prefboost as pb

__all__ = ["Questions", "nearest_sentences", "overlap", "qa_feedback", "texts_of", "words_of", "written"]

ASKED = "{passages}\n\nQuestion: {question}\nAnswer in one or two sentences."


@dataclass(frozen=True)
class Questions:
    """Pairs, and what is known of their prompts.

    Args:
        pairs: people's, with a split.
        grounds: prompt_id -> all that a completion may rest on; where absent, the prompt is.
        gold: prompt_id -> the answer of an expert, where there is one.
        first: pair_id -> whether the chosen side was the first shown, where that is known.
    """

    pairs: pb.Table
    grounds: Mapping[str, str]
    gold: Mapping[str, str]
    first: Mapping[str, bool]


def words_of(text: str) -> list[str]:
    """Words in lower case."""
    return re.findall(r"\w+", text.lower())


def overlap(text: str, gold: str) -> float:
    """F1 of the words of two texts, counted as often as they stand there; 0..1."""
    one, other = Counter(words_of(text)), Counter(words_of(gold))
    shared = sum((one & other).values())
    return 2 * shared / max(sum(one.values()) + sum(other.values()), 1)


def nearest_sentences(question: str, sentences: Sequence[str], rarity: Mapping[str, float], most: int) -> str:
    """Sentences that share the rarest words with the question, in their order, within so many words.

    Args:
        question: as it was asked.
        sentences: of all passages.
        rarity: word -> how rare it is among all passages.
        most: words in all.
    """
    asked = set(words_of(question))

    def nearness(at: int) -> float:
        own = words_of(sentences[at])
        return sum(rarity.get(word, 0.0) for word in set(own) & asked) / math.sqrt(8 + len(own))

    taken, left = [], most
    for at in sorted(range(len(sentences)), key=nearness, reverse=True):
        length = len(sentences[at].split())
        if 0 < length <= left:
            taken.append(at)
            left -= length
    return " ".join(sentences[at].strip() for at in sorted(taken))


def qa_feedback(pairs: Path, items: Path, work: Path, most: int) -> Questions:
    """Read both files of QA-Feedback.

    Args:
        pairs: one row a pair.
        items: one row a question, with passages and the expert's answer.
        work: the pairs with their short prompts are written there.
        most: words of passages in a prompt.
    """
    rows = pl.read_parquet(items).select("question_id", "question", "passages", "gold").rows(named=True)
    own = {row["question_id"]: [s for part in row["passages"] for s in part["sentences"]] for row in rows}
    held = Counter(word for sentences in own.values() for word in set(words_of(" ".join(sentences))))
    rarity = {word: math.log((len(own) + 1) / (count + 1)) for word, count in held.items()}
    short = {
        row["question_id"]: ASKED.format(
            passages=nearest_sentences(row["question"], own[row["question_id"]], rarity, most), question=row["question"]
        )
        for row in rows
    }
    decided = pl.read_parquet(pairs).filter(pl.col("label") >= 0)
    a_wins = pl.col("label") == 0
    found = decided.select(
        "pair_id",
        "split",
        prompt_id="question_id",
        prompt=pl.col("question_id").replace_strict(short),
        chosen=pl.when(a_wins).then("response_a").otherwise("response_b"),
        rejected=pl.when(a_wins).then("response_b").otherwise("response_a"),
    )
    work.mkdir(parents=True, exist_ok=True)
    found.write_parquet(work / "people.parquet")
    grounds = {row["question_id"]: f"{row['question']} {' '.join(own[row['question_id']])}" for row in rows}
    gold = {row["question_id"]: row["gold"] for row in rows if row["gold"]}
    (work / "grounds.json").write_text(json.dumps(grounds, ensure_ascii=False), encoding="utf-8")
    first = dict(decided.select("pair_id", a_wins.alias("first")).rows())
    return Questions(pb.read(work / "people.parquet"), grounds, gold, first)


def texts_of(table: Any, side: str) -> list[str]:
    """A side of pairs as plain text."""
    return [str(text) for text in table.frame[side].list.last().struct.field("content")]


def written(path: Path, text: str) -> None:
    """Write a whole file or none."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)
