"""The arms of `goal_world.py`: how pairs are relabelled, which loss trains on them, and one cell's training.

A cell is one arm at one beta in one world; all its seeds train at once, as members of one ensemble.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from goal_world_model import NO_GOAL, Weights, compute_logps, copy_weights, encode_goals, sample
from goal_world_truth import ANSWER, Topics, Truth, World, judge_answers, make_pairs, read_words

from prefboost.losses import DPO, RPO, SFT, MarginDPO, PairLogps, Term, WeightedSum
from prefboost.preferences import HighGoalOnly, Plain, Relabelling, RewardAugmented, relabel
from prefboost.tables import Table

__all__ = ["ARMS", "Arm", "Cell", "Ground", "build_ground", "measure_start", "train_cell"]

GOOD = 6.0
"""A rejected answer is good from this score of the judge on."""
WATCHED = 64
"""Good rejected answers per seed whose log-probs are followed."""
TOP = 10
SAMPLES = 48
"""Answers per topic by which a policy is measured."""


def _dpo(beta: float) -> DPO:
    return DPO(beta=beta)


@dataclass(frozen=True)
class Arm:
    """One way of training.

    Args:
        title: name in tables.
        relabellings: their goal pairs are put together, pair by pair.
        rows: goal pairs per optimiser step.
        loss: beta -> loss.
        asks: whether the policy is asked for a score; otherwise the goal slot stays empty.
    """

    title: str
    relabellings: tuple[Relabelling, ...]
    rows: int = 16
    loss: Callable[[float], Any] = _dpo
    asks: bool = True


_PLAIN, _OWN = (Plain(),), (RewardAugmented(),)
ARMS: dict[str, Arm] = {
    "dpo": Arm("DPO", _PLAIN, asks=False),
    "dpo_2x": Arm("DPO, 2x data passes", _PLAIN, rows=32, asks=False),
    "ra": Arm("reward-augmented (RA)", _OWN, rows=32),
    "half_ra": Arm("half-RA", (RewardAugmented(fraction=0.5),)),
    "grid": Arm("grid of goals 1, 4, 7, 10", (RewardAugmented(goals="grid", grid=(1, 4, 7, 10)),), rows=32),
    "mix": Arm(
        "top + own + low",
        (RewardAugmented(), RewardAugmented(goals="grid", grid=(1, 10))),
        rows=32,
    ),
    "high": Arm("high goal only", (HighGoalOnly(),)),
    "sft": Arm("conditional SFT", _OWN, rows=32, loss=lambda _: SFT()),
    "rpo": Arm("RPO", _PLAIN, loss=lambda beta: RPO(beta=beta), asks=False),
    "margin": Arm("margin-DPO", _PLAIN, loss=lambda beta: MarginDPO(beta=beta), asks=False),
    "dpo_sft": Arm(
        "DPO + likelihood",
        _PLAIN,
        loss=lambda beta: WeightedSum(terms=(Term(loss=DPO(beta=beta)), Term(loss=SFT(), weight=0.5))),
        asks=False,
    ),
}
"""Rows per step: 16 pairs each, so that all arms but `dpo_2x` see equally many pairs in a step; grid and mix have up to
four views of a pair and see fewer, half-RA sees 8 of half as many, which are as many passes."""


@dataclass(frozen=True)
class Cell:
    """One training of all seeds.

    Args:
        axis: name of the world in tables.
        arm: key of `ARMS`.
        beta: of the loss; 0 where it has none.
        steps: checkpoints, rising; the last ends the training.
        lr: learning rate after the warm-up.
        world: where it takes place.
    """

    axis: str
    arm: str
    beta: float
    steps: tuple[int, ...]
    lr: float
    world: World

    @property
    def name(self) -> str:
        """File name of its results."""
        return f"{self.axis}-{self.arm}-{self.beta:g}"

    def describe(self) -> dict[str, Any]:
        """Return the settings, as they are kept beside the results."""
        return {**asdict(self), "steps": list(self.steps)}


@dataclass(frozen=True)
class Ground:
    """What all cells of one world share, for every seed.

    Args:
        world: its settings.
        truths: gold scores.
        topics: training and held-out.
        pairs: PreferencePairs.
        reference: the start model's log-probs of their chosen and rejected answers [pairs, 2], nats.
        start: the start models' weights.
        seeds: in the order of the members.
    """

    world: World
    truths: Sequence[Truth]
    topics: Sequence[Topics]
    pairs: Sequence[Table]
    reference: Sequence[np.ndarray]
    start: Weights
    seeds: Sequence[int]


def build_ground(
    world: World, truths: Sequence[Truth], topics: Sequence[Topics], start: Weights, seeds: Sequence[int]
) -> Ground:
    """Write, judge and pair the answers of every seed."""
    truths = [Truth(truth.good, world.interior) for truth in truths]
    train = [np.resize(each.train, world.pairs) for each in topics]
    answers: Sequence[Any] = [None] * len(seeds)
    if world.on_policy:
        repeated = torch.from_numpy(np.stack([np.repeat(each, 4) for each in train]))
        tokens = encode_goals(repeated, torch.full(repeated.shape, NO_GOAL))
        drawn, _ = sample(start, tokens, [np.random.default_rng([seed, 2]) for seed in seeds], (start, tokens))
        answers = list(drawn.numpy())
    pairs = [
        make_pairs(world, truth, asked, written, np.random.default_rng([seed, 3]))
        for truth, asked, written, seed in zip(truths, train, answers, seeds, strict=True)
    ]
    reference = [_compute_reference(each, start, member) for member, each in enumerate(pairs)]
    return Ground(world, truths, topics, pairs, reference, start, seeds)


@torch.no_grad()
def _compute_reference(pairs: Table, start: Weights, member: int) -> np.ndarray:
    """Compute the start model's log-probs of a seed's pairs [pairs, 2].

    The start model is asked for nothing: so all arms are tied to one and the same distribution, and each pair costs
    one pass whatever the arm. It hears no goal anyway.
    """
    single = {name: weight[member : member + 1] for name, weight in start.items()}
    topics = torch.from_numpy(read_words(pairs.frame["prompt"])[:, 0])[None]
    tokens = encode_goals(topics, torch.full(topics.shape, NO_GOAL))
    answers = (torch.from_numpy(read_words(pairs.frame[side]))[None] for side in ("chosen", "rejected"))
    return np.stack([compute_logps(single, tokens, words)[0].numpy() for words in answers], axis=1)


@dataclass(frozen=True)
class Rows:
    """Goal pairs of one seed as arrays, those of a pair next to each other.

    Args:
        topics: [R].
        goals: [R], NO_GOAL where no goal is asked for.
        chosen: words [R, ANSWER].
        rejected: words [R, ANSWER].
        scores: of chosen and rejected [R, 2].
        reference: the start model's log-probs of both [R, 2], nats.
        units: number of the pair of each row [R].
    """

    topics: np.ndarray
    goals: np.ndarray
    chosen: np.ndarray
    rejected: np.ndarray
    scores: np.ndarray
    reference: np.ndarray
    units: np.ndarray


def make_rows(arm: Arm, pairs: Table, reference: np.ndarray) -> Rows:
    """Relabel the pairs of one seed, given the start model's log-probs of them [pairs, 2]."""
    tables = [relabel(pairs, how) for how in arm.relabellings]
    names = ["pair_id", "prompt", "chosen", "rejected", "score_chosen", "score_rejected", "goal", "flipped"]
    frame = pl.concat([table.frame.select(names) for table in tables])
    order = pairs.frame.select("pair_id").with_row_index("unit")
    frame = frame.join(order, on="pair_id", how="left").sort("unit", maintain_order=True)
    straight, flipped = reference[frame["unit"].to_numpy()], frame["flipped"].to_numpy()[:, None]
    return Rows(
        read_words(frame["prompt"])[:, 0],
        frame["goal"].fill_null(NO_GOAL).cast(pl.Int64).to_numpy(),
        read_words(frame["chosen"]),
        read_words(frame["rejected"]),
        frame.select("score_chosen", "score_rejected").to_numpy(),
        np.where(flipped, straight[:, ::-1], straight),
        frame["unit"].to_numpy(),
    )


def order_rows(rows: Rows, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw the first ``count`` rows of passes over the pairs in random order, the rows of a pair together."""
    passes: list[np.ndarray] = []
    while sum(map(len, passes)) < count:
        rank = rng.permutation(int(rows.units.max()) + 1)
        passes.append(np.argsort(rank[rows.units], kind="stable"))
    return np.concatenate(passes)[:count]


def train_cell(cell: Cell, ground: Ground, tell: Callable[[int], None] = lambda _: None) -> dict[str, Any]:
    """Train one arm on all seeds and measure it at its checkpoints.

    Args:
        cell: what is trained.
        ground: the world, with pairs and start models.
        tell: called with the number of every finished step.

    Returns:
        checkpoint -> what `measure` returns.
    """
    arm = ARMS[cell.arm]
    members = [make_rows(arm, *each) for each in zip(ground.pairs, ground.reference, strict=True)]
    orders = [
        order_rows(rows, cell.steps[-1] * arm.rows, np.random.default_rng([seed, 4]))
        for rows, seed in zip(members, ground.seeds, strict=True)
    ]
    data = {
        name: torch.from_numpy(
            np.stack([getattr(rows, name)[at] for rows, at in zip(members, orders, strict=True)])
        ).unflatten(1, (cell.steps[-1], arm.rows))
        for name in ("topics", "goals", "chosen", "rejected", "scores", "reference")
    }
    loss = arm.loss(cell.beta)
    weights = copy_weights(ground.start)
    optimiser = torch.optim.AdamW(weights.values(), lr=cell.lr, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    results = {}
    for step in range(cell.steps[-1]):
        for group in optimiser.param_groups:
            group["lr"] = cell.lr * min(1.0, (step + 1) / 20)
        batch = {name: part[:, step] for name, part in data.items()}
        optimiser.zero_grad()
        losses = loss(_compute_batch(weights, batch, loss.needs_reference)).losses
        # The sum over members of each member's mean: members share no weight, so none scales another's gradient.
        losses.view(len(members), -1).mean(1).sum().backward()
        optimiser.step()
        if step + 1 in cell.steps:
            results[str(step + 1)] = measure(cell, ground, weights, step + 1)
        tell(step + 1)
    return results


def _compute_batch(weights: Weights, batch: Mapping[str, torch.Tensor], compares: bool) -> PairLogps:
    """Compute log-probs of a batch, flattened over members; a loss that compares nothing needs no rejected ones."""
    sides = ["chosen", "rejected"] if compares else ["chosen"]
    answers = torch.cat([batch[side] for side in sides], dim=1)
    asked = encode_goals(*(torch.cat([batch[name]] * len(sides), dim=1) for name in ("topics", "goals")))
    logps = compute_logps(weights, asked, answers).chunk(len(sides), dim=1)
    chosen, rejected = logps[0].flatten(), logps[-1].flatten()
    scores, reference = batch["scores"].flatten(0, 1).to(chosen.dtype), batch["reference"].flatten(0, 1)
    length = torch.full_like(chosen, ANSWER)
    return PairLogps(
        chosen=chosen, rejected=rejected, length_chosen=length, length_rejected=length, ref_chosen=reference[:, 0],
        ref_rejected=reference[:, 1], score_chosen=scores[:, 0], score_rejected=scores[:, 1],
    )  # fmt: skip


def measure(cell: Cell, ground: Ground, weights: Weights, step: int) -> dict[str, Any]:
    """Measure a policy on held-out topics, and what became of good rejected answers.

    Returns:
        ``validation`` and ``test``: gold score, judge's score without noise and KL to the start model in nats, per
        seed and topic; ``goals``: mean gold score of every seed where the policy is asked for 1, 4 and 7;
        ``good_rejected``: mean change of the log-prob of good rejected answers per seed, nats, as the policy is
        deployed; ``own_goal``: the same asked for the answers' own scores. None where there is no such figure.
    """
    arm, result = ARMS[cell.arm], {}
    top = TOP if arm.asks else NO_GOAL
    weights = {name: weight.detach() for name, weight in weights.items()}
    for part, stream in (("validation", 5), ("test", 6)):
        result[part] = _answer(ground, weights, part, top, stream * 10_000 + step)
    result["goals"] = None
    if arm.asks:
        asked = {goal: _answer(ground, weights, "test", goal, 70_000 + step)["gold"] for goal in (1, 4, 7)}
        result["goals"] = {str(goal): [float(np.mean(seed)) for seed in gold] for goal, gold in asked.items()}
    return result | _follow_good_rejected(ground, weights, top, arm.asks)


def measure_start(ground: Ground) -> dict[str, dict[str, list[float]]]:
    """Measure the start models on held-out topics.

    Returns:
        requested goal (0: none) -> gold and judge -> mean of every seed.
    """
    asked = {goal: _answer(ground, ground.start, "test", goal, 80_000) for goal in (NO_GOAL, 1, 4, 7, TOP)}
    return {
        str(goal): {name: [round(float(np.mean(seed)), 3) for seed in found[name]] for name in ("gold", "judge")}
        for goal, found in asked.items()
    }


def _answer(ground: Ground, weights: Weights, part: str, goal: int, stream: int) -> dict[str, Any]:
    asked = [np.repeat(getattr(each, part), SAMPLES) for each in ground.topics]
    topics = torch.from_numpy(np.stack(asked))
    tokens, bare = (encode_goals(topics, torch.full(topics.shape, each)) for each in (goal, NO_GOAL))
    generators = [np.random.default_rng([seed, stream]) for seed in ground.seeds]
    answers, divergence = sample(weights, tokens, generators, (ground.start, bare))
    measured: dict[str, Any] = {"gold": [], "judge": [], "kl": []}
    quiet = World(gameable=ground.world.gameable)
    for at, truth in enumerate(ground.truths):
        words = answers[at].numpy()
        gold = truth.score(asked[at], words)
        judged = judge_answers(quiet, gold, words, generators[at])
        for name, values in (("gold", gold), ("judge", judged), ("kl", divergence[at].numpy())):
            measured[name].append(np.round(values.reshape(-1, SAMPLES).mean(1), 3).tolist())
    return measured


@torch.no_grad()
def _follow_good_rejected(ground: Ground, weights: Weights, top: int, asks: bool) -> dict[str, Any]:
    """Compare log-probs of good rejected answers with the start model's."""
    good = [pairs.frame.filter(pl.col("score_rejected") >= GOOD).head(WATCHED) for pairs in ground.pairs]
    count = min(frame.height for frame in good)
    if not count:
        return {"good_rejected": None, "own_goal": None}
    topics, answers = (
        torch.from_numpy(np.stack([read_words(frame[name].head(count)) for frame in good]))
        for name in ("prompt", "rejected")
    )
    topics = topics[..., 0]
    own = torch.from_numpy(np.stack([frame["score_rejected"].head(count).cast(pl.Int64).to_numpy() for frame in good]))
    before = compute_logps(ground.start, encode_goals(topics, torch.full(own.shape, NO_GOAL)), answers)
    changes = {}
    for name, goals in (("good_rejected", torch.full(own.shape, top)), ("own_goal", own if asks else None)):
        if goals is None:
            changes[name] = None
            continue
        change = compute_logps(weights, encode_goals(topics, goals), answers) - before
        changes[name] = [round(float(each), 3) for each in change.mean(1)]
    return changes
