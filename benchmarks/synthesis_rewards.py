"""Reward models of the benchmark of synthetic pairs: trained on every kind of data, as often as the plan says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from synthesis_counts import CountedScorer, differences, fitted, rights, wins_of
from synthesis_questions import Questions, written

import prefboost as pb
from prefboost.preferences.mix import Mix, Part, mix
from prefboost.runs.pipelines.train_reward import train_reward_on
from prefboost.scoring import RewardModelScorer

__all__ = ["Counted", "Trunk", "some_of"]

Array = NDArray[np.float64]
Pools = Sequence[Mapping[str, pb.Table]]
Found = Iterator[tuple[str, list[int], Array]]
"""What was trained on, pairs of each training, and by training 1 where it orders a validation pair as people do."""


def some_of(pairs: pb.Table, split: str, count: int, seed: int) -> pb.Table:
    """So many pairs of a part, drawn; smaller numbers are part of larger ones."""
    frame = pairs.frame.filter(pl.col("split") == split)
    order = np.random.default_rng(seed).permutation(frame.height)[:count]
    return pb.Table(pairs.spec, frame[np.sort(order)].drop("split"), path=pairs.path)


@dataclass(frozen=True)
class Rows:
    """Pairs as the counted reward model sees them."""

    gaps: Array
    wins: Array
    prompts: NDArray[Any]

    def taken(self, at: Any) -> Rows:
        """Some of them."""
        return Rows(self.gaps[at], self.wins[at], self.prompts[at])

    def drawn(self, rng: np.random.Generator) -> Rows:
        """Prompts drawn with replacement, all pairs of each."""
        names = np.unique(self.prompts)
        drawn = [np.flatnonzero(self.prompts == name) for name in rng.choice(names, len(names))]
        return self.taken(np.concatenate(drawn))

    def first(self, rng: np.random.Generator, count: int) -> Rows:
        """So many pairs, drawn without replacement."""
        return self.taken(rng.permutation(len(self.wins))[:count])


@dataclass
class Counted:
    """Reward models that count words: see synthesis_counts.py.

    Args:
        plan: of the benchmark.
        questions: human pairs and passages.
        held: validation pairs.
        expert: pairs -> 1 where the expert's answer agrees with the label, 0 where not, NaN where it cannot tell.
    """

    plan: Any
    questions: Questions
    held: pb.Table
    expert: Callable[[pb.Table], Array]

    def __post_init__(self) -> None:
        everyone = some_of(self.questions.pairs, "train", len(self.questions.pairs), 0)
        self.people = self._rows(everyone)
        self.people_set_right = _set_right(self.people, self.expert(everyone))
        self.scale = np.where((spread := self.people.gaps.std(0)) > 0, spread, 1.0)
        self.held_gaps = differences(self.held, self.questions.grounds)

    def base(self, pool: int) -> CountedScorer:
        """The reward model of the pool's human pairs, as a scorer."""
        own = self._some_people(pool, self.plan.real)
        file = self.plan.work / f"pool-{pool}" / "base.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        written(file, json.dumps(self._slopes([own]).tolist()))
        written(self.plan.work / "grounds.json", json.dumps(dict(self.questions.grounds), ensure_ascii=False))
        return CountedScorer(model=str(file), grounds=str(self.plan.work / "grounds.json"))

    def trained(self, pools: Pools) -> Found:
        """Human pairs in growing numbers; each method's alone, with human ones, half and half, and with the labels set
        right."""
        real, count = self.plan.real, len(self.people.wins)
        for size in (real, 4 * real, count):
            yield self._over(f"people ({min(size, count)})", lambda seed, size=size: [self._some_people(seed, size)])
        if clean := len(self.people_set_right.wins):
            name = f"people ({min(real, clean)}), labels by the expert's answer"
            yield self._over(name, lambda seed: [self.people_set_right.first(np.random.default_rng(seed), real)])
        for name in pools[0]:
            tables = [pool[name] for pool in pools if len(pool[name])]
            if not tables:
                continue
            made = [self._rows(table) for table in tables]
            clean = [_set_right(rows, self.expert(table)) for rows, table in zip(made, tables, strict=True)]
            yield self._over(name, lambda seed, made=made: [_pool(made, seed)])
            yield self._over(
                f"people + {name}", lambda seed, made=made: [self._some_people(seed, real), _pool(made, seed)]
            )
            yield self._over(f"half people, half {name}", lambda seed, made=made: self._halves(seed, _pool(made, seed)))
            if all(len(rows.wins) for rows in clean):
                yield self._over(
                    f"{name}, labels by the expert's answer", lambda seed, clean=clean: [_pool(clean, seed)]
                )

    def _over(self, name: str, parts: Callable[[int], list[Rows]]) -> tuple[str, list[int], Array]:
        found = [parts(seed) for seed in range(self.plan.seeds)]
        right = np.stack([rights(self._slopes(each), self.held_gaps) for each in found])
        return name, [sum(len(rows.wins) for rows in each) for each in found], right

    def _slopes(self, parts: Sequence[Rows]) -> Array:
        """Every part has the weight of the first."""
        first = len(parts[0].wins)
        return fitted([(rows.gaps, rows.wins, first / len(rows.wins)) for rows in parts], self.scale)

    def _halves(self, seed: int, rows: Rows) -> list[Rows]:
        half = self.plan.real // 2
        return [self._some_people(seed, half), rows.first(np.random.default_rng(seed), half)]

    def _some_people(self, seed: int, count: int) -> Rows:
        return self.people.first(np.random.default_rng(seed), count)

    def _rows(self, table: pb.Table) -> Rows:
        gaps = differences(table, self.questions.grounds)
        return Rows(gaps, wins_of(table), np.array(table.frame["prompt_id"].to_list(), dtype=object))


@dataclass
class Trunk:
    """Reward models trained from a language model or encoder by `prefboost train-reward`.

    Args:
        plan, questions, held: see `Counted`.
    """

    plan: Any
    questions: Questions
    held: pb.Table
    expert: Any = None

    def base(self, pool: int) -> RewardModelScorer:
        """The reward model of the pool's human pairs, as a scorer."""
        self._right(f"people ({self.plan.real})", pool, {"people": self._some_people(pool)})
        return RewardModelScorer(model=str(self._folder(f"people ({self.plan.real})", pool) / "model"))

    def trained(self, pools: Pools) -> Found:
        """Human pairs, each method's alone, and both."""
        people = {"people": self._some_people}
        yield self._over(f"people ({self.plan.real})", people)
        for name in pools[0]:
            if not all(len(pool[name]) for pool in pools):
                continue
            own = {name: lambda seed, name=name: pools[seed % len(pools)][name]}
            yield self._over(name, own)
            yield self._over(f"people + {name}", {**people, **own})

    def _over(self, name: str, parts: Mapping[str, Callable[[int], pb.Table]]) -> tuple[str, list[int], Array]:
        tables = [{part: table(seed) for part, table in parts.items()} for seed in range(self.plan.seeds)]
        right = np.stack([self._right(name, seed, own) for seed, own in enumerate(tables)])
        return name, [sum(map(len, own.values())) for own in tables], right

    def _right(self, name: str, seed: int, parts: Mapping[str, pb.Table]) -> Array:
        """Kept in a file, so that no model is trained twice."""
        folder = self._folder(name, seed)
        file = folder / "right.json"
        if not file.exists():
            first = len(next(iter(parts.values())))
            shares = {
                part: Part(data=part, share=len(table), weight=first / len(table)) for part, table in parts.items()
            }
            usual = {"precision": "fp32", "batch_size": 16, "learning_rate": 2e-5, "max_length": 1024, "seed": seed}
            settings = pb.TrainReward(model=self.plan.start, **{**usual, **self.plan.train})
            train_reward_on(mix(parts, Mix(parts=shares, seed=seed)), settings, folder)
            scored = RewardModelScorer(model=str(folder / "model")).score(self.held).frame
            margin = dict(zip(scored["pair_id"], scored["score_chosen"] - scored["score_rejected"], strict=True))
            known = [(np.sign(margin.get(name, 0.0)) + 1) / 2 for name in self.held.frame["pair_id"]]
            written(file, json.dumps(known))
        return np.array(json.loads(file.read_text(encoding="utf-8")))

    def _some_people(self, seed: int) -> pb.Table:
        return some_of(self.questions.pairs, "train", self.plan.real, seed)

    def _folder(self, name: str, seed: int) -> Path:
        return Path(self.plan.work) / f"seed-{seed}" / f"rm-{name.replace(' ', '-')}"


def _pool(made: Sequence[Rows], seed: int) -> Rows:
    """The pool of a training, its prompts drawn anew."""
    return made[seed % len(made)].drawn(np.random.default_rng(seed))


def _set_right(rows: Rows, known: Array) -> Rows:
    """Pairs that the expert's answer can tell apart, turned round where it calls the label wrong."""
    at = np.flatnonzero(np.isfinite(known))
    return Rows(rows.gaps[at] * np.where(known[at] == 1, 1.0, -1.0)[:, None], np.ones(len(at)), rows.prompts[at])
