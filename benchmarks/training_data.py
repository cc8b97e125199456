"""Goal pairs for the benchmark of training: made up with the lengths of real data, or read from a file of `augment`.

The lengths are those of two real sets (AlpacaEval outputs of ten models, paired per instruction; clinical notes with a
task): medians as measured there, spreads such that as many pairs are cut at 1,024 tokens and batches of four rows pad
as much. Lengths are drawn at evenly spaced quantiles, so that few units are spread as many are.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from prefboost.chat import SayGoal
from prefboost.chat.goal_text import goal_text

__all__ = [
    "SHAPES",
    "Shape",
    "Spread",
    "drawn_lengths",
    "goal_pairs",
    "lengths_of",
    "padded_tokens",
    "read_goal_pairs",
]

_WORDS = (
    "the of and to in a is that for it as was with be by on not he his but at are this have from or had an they which "
    "one you were all her she there would their we him been has when who will no more if out so up said what its "
    "about than into them can only other time new some could these two may first then do any like my now over such "
    "our man me even most made after also did many off before must well back through years where much your way down "
    "should because long each just those people take how little state good very make world still see own work men day "
    "get here old life both between being under three never know same last another while us might great go come since "
    "against right came used himself few house use during without again place around however home small found thought "
    "went say part once general high upon school every"
)
WORDS = tuple(_WORDS.split())


@dataclass(frozen=True)
class Spread:
    """Lengths in tokens, lognormal.

    Args:
        median: of the lengths.
        sigma: standard deviation of their logarithms.
        low: least.
        high: most.
    """

    median: float
    sigma: float
    low: int = 4
    high: int = 100_000


@dataclass(frozen=True)
class Shape:
    """A kind of data.

    Args:
        prompt: the user's text.
        chosen: the better completion.
        rejected: the worse one.
        max_prompt_length: most tokens of a prompt with goal and template.
        place: where the goal stands.
    """

    prompt: Spread
    chosen: Spread
    rejected: Spread
    max_prompt_length: int = 512
    place: Literal["system", "after"] = "system"


_NOTES = Spread(1004, 0.45)
_ANSWER = Spread(95, 0.3, 50, 170)
SHAPES = {
    "alpaca_like": Shape(Spread(32, 0.8), Spread(342, 0.5), Spread(169, 0.9)),
    "long_prompt": Shape(_NOTES, _ANSWER, _ANSWER, max_prompt_length=854),
    "long_goal_after": Shape(_NOTES, _ANSWER, _ANSWER, max_prompt_length=854, place="after"),
    "short": Shape(Spread(20, 0.4), Spread(36, 0.3, 20, 60), Spread(36, 0.3, 20, 60)),
}
"""Data by name."""


def goal_pairs(shape: Shape, units: int, count_tokens: Callable[[str], int], *, seed: int = 0) -> pa.Table:
    """Both views of ``units`` scored pairs, the goals already in the prompts.

    Args:
        shape: lengths and place of the goal.
        units: pairs; each gives two rows.
        count_tokens: of a text, by the model's tokenizer.
        seed: the same seed gives the same table.
    """
    draw = random.Random(seed)
    per_word = count_tokens(_text(draw, 2000)) / 2000
    lengths = {name: drawn_lengths(draw, getattr(shape, name), units) for name in ("prompt", "chosen", "rejected")}
    say = SayGoal(place=shape.place)
    rows = []
    for number in range(units):
        texts = {name: _text(draw, round(lengths[name][number] / per_word)) for name in lengths}
        scores = sorted((round(draw.uniform(1, 10), 2), round(draw.uniform(1, 10), 2)))
        rows += [_view(number, texts, scores, flipped, say) for flipped in (False, True)]
    return pa.Table.from_pylist(rows)


def read_goal_pairs(path: Path, units: int) -> pa.Table:
    """The first units of what `prefboost augment` wrote (a Parquet file, or its folder)."""
    files = [path] if path.is_file() else sorted((path / "data").glob("*.parquet")) or sorted(path.glob("*.parquet"))
    table = pa.concat_tables([pq.read_table(file) for file in files])
    wanted = list(dict.fromkeys(table["pair_id"].to_pylist()))[:units]
    return table.filter(pa.compute.is_in(table["pair_id"], pa.array(wanted)))


def lengths_of(rows: Sequence[dict[str, Any]]) -> list[int]:
    """Tokens of each sequence: two a row."""
    return [len(row["prompt_ids"]) + len(row[side]) for row in rows for side in ("chosen_ids", "rejected_ids")]


def padded_tokens(rows: Sequence[dict[str, Any]], batch: int) -> int:
    """Tokens of batches of so many rows, each padded to its longest sequence."""
    total = 0
    for start in range(0, len(rows), batch):
        lengths = lengths_of(rows[start : start + batch])
        total += len(lengths) * max(lengths)
    return total


def drawn_lengths(draw: random.Random, spread: Spread, count: int) -> list[int]:
    """Lengths at evenly spaced quantiles, in random order."""
    quantiles = [(number + 0.5) / count for number in range(count)]
    draw.shuffle(quantiles)
    drawn = (spread.median * math.exp(spread.sigma * NormalDist().inv_cdf(quantile)) for quantile in quantiles)
    return [round(min(max(length, spread.low), spread.high)) for length in drawn]


def _text(draw: random.Random, words: int) -> str:
    """Sentences of common words, a paragraph now and then."""
    text, left = "", max(1, words)
    while left > 0:
        sentence = " ".join(draw.choices(WORDS, k=min(left, draw.randint(6, 18))))
        left -= sentence.count(" ") + 1
        text += ("" if not text else "\n\n" if draw.random() < 0.15 else " ") + sentence.capitalize() + "."
    return text


def _view(number: int, texts: dict[str, str], scores: Sequence[float], flipped: bool, say: SayGoal) -> dict[str, Any]:
    worse, better = scores
    goal = worse if flipped else better
    said = goal_text(say, goal, {})
    user = {"role": "user", "content": texts["prompt"] if say.place == "system" else f"{texts['prompt']}\n\n{said}"}
    prompt = [{"role": "system", "content": said}, user] if say.place == "system" else [user]
    sides = ("rejected", "chosen") if flipped else ("chosen", "rejected")
    chosen, rejected = ([{"role": "assistant", "content": texts[side]}] for side in sides)
    return {
        "pair_id": f"pair-{number}",
        "prompt_id": f"prompt-{number}",
        "view": "rejected" if flipped else "chosen",
        "prompt": prompt,
        "chosen": chosen,
        "rejected": rejected,
        "goal": goal,
        "score_chosen": goal,
        "score_rejected": better if flipped else worse,
        "distance_chosen": 0.0,
        "distance_rejected": better - worse,
    }
