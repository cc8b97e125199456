"""Work of on-policy rounds: hold prompts out, let a policy complete the others, measure a policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from prefboost.chat import SayGoal, goal_text, place_goal
from prefboost.engines.engine import Engine
from prefboost.engines.kinds import EngineSettings
from prefboost.engines.local.engine import Local
from prefboost.engines.pool import open_engine
from prefboost.engines.store.opening import has_store
from prefboost.errors import DataError, Place
from prefboost.forecast import Forecast
from prefboost.preferences import DeclaredRange, FittedScale, Plain, resolve_place
from prefboost.preferences.condition import fit_wording_to_scales, reject_without_user_turn
from prefboost.preferences.draw import draw_rank, draw_share
from prefboost.progress import tell_bar
from prefboost.recipes.on_policy import POLICY, OnPolicy, RoundEvaluation
from prefboost.runs.generate.generate import Generate, forecast_generation, generate
from prefboost.runs.generate.prompt_files import read_prompts
from prefboost.runs.outputs import place_store
from prefboost.runs.preparation import list_goal_aspects
from prefboost.scoring.scorer import RangedScorer
from prefboost.sources import read
from prefboost.statistics import Bootstrap, bootstrap_difference, bootstrap_mean, match_means
from prefboost.tables import COMPLETIONS, EVALUATION_SPLITS, MESSAGES, PROMPTS, Step, Table, reject_where

if TYPE_CHECKING:
    from prefboost.progress import Progress

__all__ = [
    "IDENTICAL",
    "RoundPolicy",
    "RoundSampling",
    "Wording",
    "complete_prompts",
    "complete_round",
    "forecast_sampling",
    "build_evaluation_settings",
    "list_samplings",
    "select_held_out",
    "measure_policy",
    "select_round_prompts",
    "read_declared_range",
    "read_round_prompts",
    "choose_wording",
    "guess_ends",
]

IDENTICAL = "all completions of the prompt are the same"


@dataclass(frozen=True)
class RoundPolicy:
    """A model that completes prompts: a hub id, folder or package.

    Args:
        model: which.
        revision: of the start model.
        trust_remote_code: run code that the checkpoint brings.
        chat_template: Jinja text in the place of the start model's own; later policies bring theirs.
        start: of a later policy, the model that servers were started with.
        adapter: folder of the adapter on the start model that makes this policy; None where none was trained.
    """

    model: str
    revision: str | None = None
    trust_remote_code: bool = False
    chat_template: str | None = None
    start: str | None = None
    adapter: str | None = None

    def engine(self, template: EngineSettings | None) -> EngineSettings:
        """Put this model into an engine's settings; engines without a model (a recording) stay as they are."""
        settings: Any = template if template is not None else Local(model=self.model)
        fields: dict[str, Any] = {"model": self.model, "revision": self.revision}
        if (how := getattr(settings, "hand_over", None)) is not None:
            served = settings.model if settings.model != POLICY else self.start or self.model
            # A server's other rounds may have left it with their weights, which a reload replaces; adapters have names.
            fields = {"model": served, "weights": self.adapter if how == "lora" else self.model}
        if self.trust_remote_code:
            fields["trust_remote_code"] = True
        if self.chat_template is not None:
            fields["chat_template"] = self.chat_template
        taken = {name: value for name, value in fields.items() if name in type(settings).model_fields}
        return settings.model_copy(update=taken)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Wording:
    """The highest score, and how it is asked for."""

    say: SayGoal
    goal: float | None
    aspects: Mapping[str, float]

    @property
    def text(self) -> str:
        """What is said in the prompt."""
        return goal_text(self.say, self.goal, self.aspects)


def read_round_prompts(recipe: OnPolicy) -> Table:
    """Read prompts, with a column ``split``: train, or test for those that are only measured on.

    Raises:
        DataError: no prompt is left to train on, or none to measure on.
    """
    path = getattr(recipe.prompts, "path", "")
    table = read_prompts(path) if str(path).endswith(".txt") else read(recipe.prompts)
    columns = [column.name for column in PROMPTS.columns if column.name in table.frame.columns]
    frame = table.frame.select(columns).unique("prompt_id", keep="first", maintain_order=True)
    marked = "split" in columns and frame["split"].is_in(EVALUATION_SPLITS).any()
    if recipe.evaluate is None:
        aside = pl.lit(False)
    elif marked:
        aside = pl.col("split").is_in(EVALUATION_SPLITS).fill_null(False)
    else:
        aside = draw_share(recipe.seed, "prompt_id") < recipe.evaluate.share
    split = pl.when(aside).then(pl.lit("test")).otherwise(pl.lit("train"))
    frame = frame.with_columns(split=split)
    counts = dict(frame["split"].value_counts().iter_rows())
    needed = ["train"] + (["test"] if recipe.evaluate is not None else [])
    for name in needed:
        if not counts.get(name):
            raise DataError(
                f"of {frame.height:,} prompts none remains to {'train' if name == 'train' else 'measure'} on",
                remedy="give more prompts, another evaluate.share, or a column split of train and test",
                place=Place(str(path) or None),
            )
    step = Step("prompts", {}, len(table), frame.height, notes=counts)
    return table.derive(PROMPTS, frame, step, scales={})


def select_held_out(prompts: Table) -> Table:
    """Select the prompts that are only measured on."""
    return replace(prompts, frame=prompts.frame.filter(pl.col("split") == "test"))


def select_round_prompts(prompts: Table, recipe: OnPolicy, number: int) -> Table:
    """Select the prompts that the policy of a round (from 1) completes."""
    frame = prompts.frame.filter(pl.col("split") == "train")
    if recipe.prompts_a_round == "parts":
        part = draw_rank(recipe.seed, "prompt_id") % recipe.rounds
        frame = frame.filter(part == number - 1)
    return replace(prompts, frame=frame)


def choose_wording(recipe: OnPolicy, fitted: Mapping[str, FittedScale] | None) -> Wording | None:
    """Choose how the highest score is asked for; None where training says no goals.

    Args:
        recipe: condition, scale, relabel, and evaluate.goal.
        fitted: the scales by aspect, once scores have been seen.
    """
    if isinstance(recipe.relabel, Plain):
        return None
    aspects = list_goal_aspects(recipe)
    say = fit_wording_to_scales(recipe.condition, fitted or _guess_scales(recipe), aspects)
    top = say.high if recipe.evaluate is None or recipe.evaluate.goal is None else recipe.evaluate.goal
    return Wording(say, None if aspects else top, dict.fromkeys(aspects, top))


def read_declared_range(recipe: OnPolicy) -> tuple[float, float] | None:
    """Return the range that the recipe's scorer declares for its scores; None where it declares none."""
    return recipe.scorer.find_range() if isinstance(recipe.scorer, RangedScorer) else None


def guess_ends(recipe: OnPolicy) -> tuple[float, float]:
    """Guess the lowest and highest score before any was seen: what the scale or the scorer declares, or 1 and 10."""
    knots = next((scale.knots for scale in _guess_scales(recipe).values()), (1.0, 10.0))
    return knots[0], knots[-1]


def _guess_scales(recipe: OnPolicy) -> dict[str, FittedScale]:
    """Guess the scale's ends before any score was seen: what the scorer declares, where it declares anything."""
    scale = recipe.scale
    declared = read_declared_range(recipe)
    if scale is None:
        return {} if declared is None else {"": FittedScale(kind="foreseen", knots=declared, values=declared)}
    if isinstance(scale, DeclaredRange):
        return {"": (scale if declared is None else scale.fill_ends(declared)).fit(np.empty(0))}
    ends = (float(getattr(scale, "low", 1.0)), float(getattr(scale, "high", 10.0)))
    return {"": FittedScale(kind="foreseen", knots=ends, values=ends)}


@dataclass(frozen=True)
class RoundSampling:
    """One manner in which a round's prompts are completed: with the highest score asked for, or nothing said."""

    settings: Generate
    wording: Wording | None
    place: Path


def list_samplings(recipe: OnPolicy, policy: RoundPolicy, wording: Wording | None, out: Path) -> list[RoundSampling]:
    """List how a round's prompts are completed; arguments as in `complete_round`."""
    how = recipe.generate
    return [
        RoundSampling(
            Generate(engine=policy.engine(how.engine), sampling=how.sampling, n=count, silent=True),
            wording if manner == "top" else None,
            out.with_name(f"{out.stem}.{manner}.parquet"),
        )
        for manner, count in how.counts.items()
        if count
    ]


def complete_round(
    recipe: OnPolicy,
    prompts: Table,
    policy: RoundPolicy,
    wording: Wording | None,
    out: Path,
    progress: Progress | None = None,
) -> Table:
    """Complete a round's prompts; prompts whose completions are all the same are rejects.

    Args:
        recipe: how many, by what, and for how many the highest score is asked for.
        prompts: of the round.
        policy: who completes.
        wording: how the highest score is asked for.
        out: the file that will hold them; stores of finished completions lie beside it.
        progress: is told.
    """
    parts = [
        complete_prompts(prompts, each.settings, each.wording, each.place, progress)
        for each in list_samplings(recipe, policy, wording, out)
    ]
    table = parts[0]
    if len(parts) > 1:
        table = replace(
            table,
            frame=pl.concat([part.frame for part in parts], how="diagonal_relaxed"),
            rejects=pl.concat([part.rejects for part in parts]),
            steps=(*table.steps, *parts[1].steps[-1:]),
        )
    # Completions that are all the same have one score: nothing can be learned from comparing them.
    several = pl.col("completion").n_unique().over("prompt_id") == 1
    frame, rejects = reject_where(
        table.frame, several, stage="generate", reason=IDENTICAL, path=table.path, value=pl.col("prompt_id")
    )
    dropped = len(table) - frame.height
    step = Step(
        "drop identical", {}, len(table), frame.height, {IDENTICAL: dropped} if dropped else {},
        {"prompts dropped": table.frame["prompt_id"].n_unique() - frame["prompt_id"].n_unique()},
    )  # fmt: skip
    return table.derive(COMPLETIONS, frame, step, rejects=rejects)


def complete_prompts(
    prompts: Table,
    settings: Generate,
    wording: Wording | None,
    out: Path | None,
    progress: Progress | None = None,
    *,
    engine: Engine | None = None,
) -> Table:
    """Complete prompts, the highest score asked for or nothing said.

    Args:
        prompts: Prompts.
        settings: of `generate`; nothing but ``wording`` says a goal.
        wording: None says nothing, whatever the model's chat template would do by itself.
        out: see `generate`: what is finished lies beside it, and an interrupted call goes on from there.
        progress: is told.
        engine: an engine that is already open, instead of ``settings.engine``.

    Returns:
        Completions with the prompts that were given, without the goal.
    """
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
    engine = engine or open_engine(settings.engine)
    conditioned = prompts if wording is None else _say_goal(prompts, wording, engine)
    completions = generate(conditioned, settings, out, engine=engine, progress=tell_bar(progress))
    if wording is None:
        return completions
    plain = prompts.frame.select("prompt_id", _plain="prompt")
    frame = completions.frame.join(plain, on="prompt_id", maintain_order="left").with_columns(
        prompt="_plain",
        completion_id=pl.format("{}/top", "completion_id"),
        goal=pl.lit(wording.goal, dtype=pl.Float64),
    )
    return replace(completions, frame=frame.select(completions.frame.columns))


def forecast_sampling(prompts: Table, sampling: RoundSampling, engine: Engine) -> Forecast:
    """Forecast what `complete_prompts` would do; what it has finished before is looked up beside its output."""
    place = place_store(sampling.place, None)
    out = sampling.place if place is not None and has_store(place) else None
    conditioned = prompts if sampling.wording is None else _say_goal(prompts, sampling.wording, engine)
    return forecast_generation(conditioned, sampling.settings, out, engine=engine)


def measure_policy(
    scored: Table, wording: Wording | None, how: Bootstrap, start: pl.DataFrame | None = None
) -> dict[str, Any]:
    """Measure the mean score of held-out prompts at the highest goal.

    Args:
        scored: ScoredCompletions of held-out prompts, scores as the scorer gives them.
        wording: how the goal was asked for.
        how: intervals are drawn.
        start: those of the start model, for the difference; None where it was not measured.

    Returns:
        JSON values: ``goal``, ``score`` (mean and interval, clustered by prompt), ``aspects``, ``characters`` (mean
        length), ``cut`` (share at max_tokens), ``gain`` over the start model (interval; None where not known).

    Raises:
        DataError: no completion of a held-out prompt has a score.
    """
    frame = scored.frame.filter(pl.col("score").is_not_null())
    if frame.is_empty():
        raise DataError("no completion of a held-out prompt has a score", remedy="see the rejects of this stage")
    prompts = frame["prompt_id"].to_numpy()
    aspects = [name for name in frame.columns if name.startswith("score.")]
    gain = None
    if start is not None:
        shared = frame.join(start, on="prompt_id", how="semi"), start.join(frame, on="prompt_id", how="semi")
        keys, ours, theirs = match_means(*((part["prompt_id"].to_list(), part["score"]) for part in shared))
        gain = asdict(bootstrap_difference(ours, theirs, clusters=keys, how=how))
    text = pl.col("completion").list.eval(pl.element().struct.field("content")).list.join("\n")
    return {
        "goal": None if wording is None else wording.goal if wording.goal is not None else dict(wording.aspects),
        "score": asdict(bootstrap_mean(frame["score"], clusters=prompts, how=how)),
        "aspects": {name.removeprefix("score."): _compute_mean(frame[name]) for name in aspects},
        "characters": _compute_mean(frame.select(text.str.len_chars()).to_series()),
        "cut": _compute_mean(frame["finish_reason"] == "length") if "finish_reason" in frame.columns else None,
        "gain": gain,
    }


def build_evaluation_settings(recipe: OnPolicy, how: RoundEvaluation, policy: RoundPolicy) -> Generate:
    """Return the settings for completing held-out prompts."""
    engine = policy.engine(how.engine or recipe.generate.engine)
    return Generate(engine=engine, sampling=how.sampling, n=how.n, silent=True)


def _say_goal(prompts: Table, wording: Wording, engine: Engine) -> Table:
    place, _ = resolve_place(wording.say, engine.render_conversation)
    frame, rejects = reject_without_user_turn(prompts.frame, place, stage="generate", path=prompts.path)
    conditioned = [place_goal(prompt, wording.text, place) for prompt in frame["prompt"].to_list()]
    step = Step("say the goal", {"text": wording.text, "place": place}, len(prompts), frame.height)
    return prompts.derive(
        PROMPTS, frame.with_columns(prompt=pl.Series(conditioned, dtype=MESSAGES)), step, rejects=rejects
    )


def _compute_mean(values: pl.Series) -> float | None:
    mean = values.mean()
    return None if mean is None else float(str(mean))
