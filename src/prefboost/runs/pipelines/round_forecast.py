"""Forecast of on-policy rounds: completions, scores and trainings of every round that is still to do.

The stages' own code runs on completions that nobody wrote: as long as they may be, with scores that all differ. So
counts of completions and of a rater's calls are those of a run in which no completion equals another.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, TypeVar

import polars as pl
import pyarrow.parquet as pq

from prefboost.engines.engine import Engine, Request, Result, Sampling
from prefboost.engines.kinds import EngineSettings
from prefboost.errors import DataError
from prefboost.forecast import Forecast, StageWork, describe_scoring
from prefboost.preferences import DeclaredRange, FittedScale
from prefboost.recipes.on_policy import OnPolicy, RoundEvaluation
from prefboost.runs.folder.manifest import Run
from prefboost.runs.pipelines import rounds
from prefboost.runs.pipelines.goal_pairs import PAIRS, load_renderer, make_recipe_pairs, split_rows
from prefboost.runs.pipelines.on_policy import (
    COMPLETED,
    HELD_OUT_COMPLETED,
    SCORES,
    find_round_policy,
    name_round_folder,
    name_round_stage,
)
from prefboost.runs.pipelines.rounds import RoundPolicy, RoundSampling, Wording
from prefboost.runs.pipelines.stage_tables import load_table
from prefboost.runs.preparation import Scales, list_goal_aspects
from prefboost.runs.score.questions import forecast_questions
from prefboost.tables import COMPLETIONS, SCORED_COMPLETIONS, Step, Table

__all__ = ["StandInEngine", "forecast_rounds", "score_evenly"]

T = TypeVar("T")

_LENGTHS = "no completion that is still to be written ends before max_tokens, and no two of a prompt are the same"
_SCORES = "scores of a prompt all differ, and select and keep leave out none, so that pairs are the most there can be"
_LATER = "the policies of later rounds count tokens as the start model does"

_SAMPLED_PROMPTS = 2_000
"""Prompts whose completions stand for those of all others in what is said of scores and trainings."""


def forecast_rounds(recipe: OnPolicy, run: Run, done: Collection[str]) -> dict[str, StageWork]:
    """Forecast the stages of the recipe that are to do; tokenizers are loaded, and nothing is written.

    Args:
        recipe: of on-policy rounds.
        run: its folder, whose finished stages say what is known already.
        done: names of the finished stages.

    Raises:
        DataError, ModelError, SettingsError: see the stages.
    """
    rehearsal = _Rehearsal(recipe, run, done)
    stages: dict[str, StageWork] = {}
    for number in range(recipe.rounds + 1):
        for what, forecast in rehearsal.list_work(number):
            name = name_round_stage(number, what)
            if name not in done:
                stages[name] = forecast()
    return stages


class StandInEngine:
    """Answers for an engine, which renders and counts: every completion has all of ``max_tokens``, none equals another.

    Args:
        engine: whose tokenizer and chat template count.
        tokenizer: of the policy.
        first: number of the first completion of each prompt.
    """

    identity = "stand-in"

    def __init__(self, engine: Engine, tokenizer: Any, first: int = 0) -> None:
        self._engine = engine
        self._tokenizer = tokenizer
        self._first = first

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def generate(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[tuple[int, Result]]:
        """Complete every request with words that nobody wrote; see `prefboost.engines.engine.Engine`."""
        words = self._encode(" word" * sampling.max_tokens)
        for index, request in enumerate(requests):
            # Its number comes first, so that completions of a prompt share no beginning.
            number = self._encode(f"{self._first + request.sample}")
            text = self._tokenizer.decode([*number, *words][: sampling.max_tokens])
            yield index, Result(text, "stop", 0, sampling.max_tokens)

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids


def score_evenly(completions: Table, aspects: Iterable[str], ends: tuple[float, float]) -> Table:
    """Score the completions of each prompt evenly from one end of a scale to the other, in their order."""
    place = pl.int_range(pl.len()).over("prompt_id")
    share = place / (pl.len().over("prompt_id") - 1).clip(1)
    score = ends[0] + share * (ends[1] - ends[0])
    names = ["score", *(f"score.{aspect}" for aspect in aspects)]
    frame = completions.frame.with_columns(score.alias(name) for name in names)
    return completions.derive(SCORED_COMPLETIONS, frame, Step("score", {}, len(completions), frame.height))


class _Rehearsal:
    """Makes the forecasts of a recipe; what is the same in several rounds is made once."""

    def __init__(self, recipe: OnPolicy, run: Run, done: Collection[str]) -> None:
        self.recipe = recipe
        self.run = run
        self.done = done
        self._made: dict[str, Any] = {}

    def list_work(self, number: int) -> Iterator[tuple[str, Callable[[], StageWork]]]:
        """List the stages of a round that complete, score or train, each with what makes its forecast."""
        how = self.recipe.evaluate
        if number:
            yield "generate", lambda: {"completions": self.count_completions(self._list_samplings(number), number)}
            yield "score", lambda: {"scores": self.count_scores(self._list_samplings(number), number)}
            yield "train", lambda: {"training": self.count_training(number)}
        if how is not None and (number or how.start):
            yield "evaluate", lambda: self.count_evaluation(number, how)

    @cached_property
    def prompts(self) -> Table:
        """Prompts of all rounds, and those that are held out."""
        return rounds.read_round_prompts(self.recipe)

    @cached_property
    def tokenizer(self) -> Any:
        """That of the policy."""
        from prefboost.training.policy.model import load_policy_tokenizer

        return load_policy_tokenizer(self.recipe.train)

    def _choose_prompts(self, number: int | None) -> Table:
        """Choose the prompts of a round; None: those that are held out."""
        if number is None:
            return rounds.select_held_out(self.prompts)
        return rounds.select_round_prompts(self.prompts, self.recipe, number)

    def _find_policy(self, number: int) -> RoundPolicy:
        """Return the policy after a round; until it is trained the start model, whose tokens are the same."""
        trained = number and name_round_stage(number, "train") in self.done
        return find_round_policy(self.recipe, self.run.path, number if trained else 0)

    def _choose_wording(self, number: int) -> Wording | None:
        scales: Scales | None = None
        pairs = name_round_stage(number, "pairs")
        if number and pairs in self.done:
            scales = {name: FittedScale(**scale) for name, scale in self.run.notes(pairs)["scales"].items()}
        return rounds.choose_wording(self.recipe, scales)

    def _list_samplings(self, number: int) -> list[RoundSampling]:
        wording = None if self.recipe.generate.goal == "plain" else self._choose_wording(number - 1)
        out = self.run.path / name_round_folder(number) / COMPLETED
        return rounds.list_samplings(self.recipe, self._find_policy(number - 1), wording, out)

    def _make_once(self, key: Sequence[Any], make: Callable[[], T]) -> T:
        name = repr(key)
        if name not in self._made:
            self._made[name] = make()
        value: T = self._made[name]
        return value

    def _open(self, settings: EngineSettings) -> Engine:
        # Not by the pool of a cluster: nothing is asked for but tokens.
        return self._make_once(["engine", settings], settings.open)

    def _identify_prompts(self, number: int | None) -> object:
        """Return what tells one round's prompts from another's."""
        return number if number is None or self.recipe.prompts_a_round == "parts" else "all"

    def count_completions(self, samplings: Sequence[RoundSampling], number: int | None) -> Forecast:
        """Count the completions of a round's prompts; None: of those that are held out."""
        parts = [self.count_sampling(sampling, number) for sampling in samplings]
        whole = sum(parts[1:], parts[0])
        counts = {"prompts": len(self._choose_prompts(number)), "rows": whole.counts["rows"]}
        headline = f"{counts['rows']:,} completions of {counts['prompts']:,} prompts"
        return replace(whole, headline=headline, counts=counts, guesses=[_LATER] if self.recipe.rounds > 1 else [])

    def count_sampling(self, sampling: RoundSampling, number: int | None) -> Forecast:
        """Count the completions in one manner that no store holds."""
        # The place of the output tells what an interrupted call has finished; later rounds have nothing there yet.
        begun = sampling.place if sampling.place.parent.exists() else None
        key = ["completions", self._identify_prompts(number), sampling.settings, sampling.wording, begun]

        def count() -> Forecast:
            return rounds.forecast_sampling(
                self._choose_prompts(number), sampling, self._open(sampling.settings.engine)
            )

        return self._make_once(key, count)

    def _rehearse(self, samplings: Sequence[RoundSampling], number: int | None) -> tuple[Table, float]:
        """Complete prompts with texts that nobody wrote; return them, and how many times as many there are in all."""
        prompts = self._choose_prompts(number)
        sample = replace(prompts, frame=prompts.frame.head(_SAMPLED_PROMPTS))

        def complete() -> Table:
            parts, first = [], 0
            for sampling in samplings:
                engine: Any = StandInEngine(self._open(sampling.settings.engine), self.tokenizer, first)
                parts.append(rounds.complete_prompts(sample, sampling.settings, sampling.wording, None, engine=engine))
                first += sampling.settings.n
            return replace(parts[0], frame=pl.concat([part.frame for part in parts], how="diagonal_relaxed"))

        key = ["texts", self._identify_prompts(number), *((each.settings, each.wording) for each in samplings)]
        return self._make_once(key, complete), len(prompts) / max(len(sample), 1)

    def count_scores(self, samplings: Sequence[RoundSampling], number: int | None) -> Forecast:
        """Count what the scorer does, on the completions of the round where they are written."""
        recipe, store, ratio = self.recipe, None, 1.0
        generated = number is not None and name_round_stage(number, "generate") in self.done
        if generated:
            assert number is not None
            table = load_table(self.run.path / name_round_folder(number) / COMPLETED, COMPLETIONS)
            store = self.run.path / SCORES
        else:
            table, ratio = self._rehearse(samplings, number)

        def count() -> Forecast:
            return forecast_questions(table, recipe.scorer, recipe.spending, store=store)

        key = ["scores", number if generated else [self._identify_prompts(number), samplings[0].settings.n]]
        forecast = self._make_once(key, count).scale(ratio)
        # Rules are computed from whatever is written, and take no tokens.
        assumed = [f"scores: {_LENGTHS}"] if forecast.total.calls and not generated else []
        guesses = [*forecast.guesses, *assumed, *_name_sample("scores", ratio)]
        return replace(forecast, headline=describe_scoring(forecast.counts), guesses=guesses)

    def count_evaluation(self, number: int, how: RoundEvaluation) -> StageWork:
        """Count completions and scores of held-out prompts."""
        settings = rounds.build_evaluation_settings(self.recipe, how, self._find_policy(number))
        place = self.run.path / name_round_folder(number) / HELD_OUT_COMPLETED
        samplings = [RoundSampling(settings, self._choose_wording(number), place)]
        return {
            "completions": self.count_completions(samplings, None),
            "scores": self.count_scores(samplings, None),
        }

    def count_training(self, number: int) -> Forecast:
        """Count the training of a round, on its pairs where they are made."""
        from prefboost.training.forecast import forecast_policy

        recipe, pairs = self.recipe, name_round_stage(number, "pairs")
        if pairs in self.done:
            trained, evaluated = split_rows(pq.read_table(self.run.path / name_round_folder(number) / PAIRS))
            return forecast_policy(trained, recipe.train, eval_pairs=evaluated, say=recipe.condition)
        texts, ratio = self._rehearse(self._list_samplings(number), number)

        def count() -> Forecast:
            ends = (1.0, 10.0)
            if recipe.scale is None or isinstance(recipe.scale, DeclaredRange):
                ends = rounds.guess_ends(recipe)
            scored = score_evenly(texts, list_goal_aspects(recipe), ends)
            try:
                table = make_recipe_pairs(recipe, scored, load_renderer(recipe))
            except DataError as error:
                return Forecast(
                    counts={"pairs": 0, "steps": 0}, guesses=[f"training: not known, since {error.message}"]
                )
            trained, evaluated = split_rows(table.frame.to_arrow())
            return forecast_policy(trained, recipe.train, eval_pairs=evaluated, say=recipe.condition)

        base = self._make_once(["training", self._identify_prompts(number)], count)
        forecast = base.scale(ratio)
        if recipe.train.max_steps:
            # More prompts make no more steps.
            steps = {**forecast.counts, "steps": base.counts["steps"]}
            forecast = replace(forecast, counts=steps, tokens=base.tokens, seconds=base.seconds)
        headline = f"at most {forecast.counts['pairs']:,} goal pairs, {forecast.counts['steps']:,} steps"
        guesses = [*forecast.guesses, f"training: {_LENGTHS}", f"training: {_SCORES}", *_name_sample("training", ratio)]
        return replace(forecast, headline=headline, guesses=guesses, at_most=True)


def _name_sample(what: str, ratio: float) -> list[str]:
    """Say that prompts were sampled, where they were."""
    return [] if ratio <= 1 else [f"{what}: counted on {_SAMPLED_PROMPTS:,} prompts, times {ratio:.3g}"]
