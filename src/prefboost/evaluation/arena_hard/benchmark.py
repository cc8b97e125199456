"""Arena-Hard-Auto as a benchmark: build, parse and score of `prefboost.evaluation.benchmark`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field

from prefboost.engines.engine import Sampling
from prefboost.errors import SettingsError
from prefboost.evaluation.arena_hard.judging import (
    ArenaQuestion,
    ArenaRules,
    Game,
    GameRequest,
    Label,
    arena_requests,
    label_of,
)
from prefboost.evaluation.arena_hard.scores import ArenaScore, arena_scores
from prefboost.evaluation.arena_hard.style import Style, style_of
from prefboost.evaluation.assets import Assets
from prefboost.evaluation.baseline import baseline_of
from prefboost.evaluation.benchmark import BenchmarkPrompt, JudgeReply, JudgeRequest, JudgeVerdict, check_facts
from prefboost.evaluation.own_prompts import read_own_prompts
from prefboost.evaluation.prepared import Prepared
from prefboost.evaluation.prompt_sets import arena_answers, arena_prompts, read_answers
from prefboost.evaluation.results import Figure, Results

__all__ = ["ArenaHard"]

_TOKENS = {"v0.1": 4096, "v2.0": 16000}
_STYLE = ("length", "headers", "lists", "bold")
_BASELINES = {
    "gpt-4-0314": "arena_hard_v01_baseline",
    "o3-mini-2025-01-31": "arena_hard_v20_baseline",
    "gemini-2.0-flash-001": "arena_hard_v20_creative_baseline",
}
"""Published baseline -> asset."""


class ArenaHard(ArenaRules):
    """Arena-Hard-Auto: hard prompts, judged in both orders against a baseline (arXiv 2406.11939)."""

    kind: Literal["arena_hard"] = Field("arena_hard", description="Win rate against a baseline on hard prompts.")
    prompts: Path | None = Field(
        None,
        description="File of prompts of one's own, judged like hard prompts; none: the version's published ones.",
    )

    def prepare(self, assets: Assets, models: Sequence[str]) -> Prepared:
        """See `prefboost.evaluation.prepared.JudgedBenchmark`.

        Published prompts are compared with the published baseline of their category, unless another one is named: a
        model of the run, or a file of completions. On prompts of one's own it is the first model where none is named.
        """
        prompts = self._published_prompts(assets) if self.prompts is None else read_own_prompts(self.prompts)
        if self.prompts is None and self.baseline is None:
            needed = {self.baseline_of(_question(one).category) for one in prompts} - {*models}
            given = {name: arena_answers(assets.path(_BASELINES[name])) for name in sorted(needed)}
            return Prepared(self, prompts, given, _sampling)
        name, known = baseline_of(self.baseline, models, partial(read_answers, prompts=prompts))
        return Prepared(self.model_copy(update={"baseline": name}), prompts, known, _sampling)

    def build(
        self, prompts: Sequence[BenchmarkPrompt], completions: Mapping[str, Mapping[str, Sequence[str]]]
    ) -> list[JudgeRequest]:
        """Both games of every prompt and model.

        Args:
            prompts: their category is CATEGORY or CATEGORY/SUBCATEGORY.
            completions: model -> uid -> its completion; the baselines among them.

        Raises:
            SettingsError: a category is none of the version's, and no baseline is named.
        """
        questions = [_question(prompt) for prompt in prompts]
        baselines = {question.category: self.baseline_of(question.category) for question in questions}
        found = []
        for model in completions:
            if model in baselines.values():
                continue
            for question in questions:
                own = completions[model].get(question.uid)
                other = completions.get(baselines[question.category], {}).get(question.uid)
                found += self._games(question, model, own, other)
        return found

    def parse(self, request: JudgeRequest, reply: JudgeReply) -> JudgeVerdict:
        """The label of a reply, and the share of the win that it gives the rated model."""
        label = None if reply.fault or request.fault else label_of(reply.text, self.version)
        fault = request.fault or reply.fault or ("" if label else "the reply holds no verdict label")
        facts = {**request.facts, "label": label}
        share = _game(JudgeVerdict(request.uid, request.model, request.part, None, facts)).share
        return JudgeVerdict(request.uid, request.model, request.part, share, facts, fault=fault)

    def score(self, verdicts: Sequence[JudgeVerdict], *, allow_missing: bool = False) -> Results:
        """Win rate of every model in every category.

        Raises:
            DataError: no verdict is of a wanted category, a game stands twice, or verdicts are of another benchmark.
        """
        check_facts(verdicts, ("category", "game"), self.kind)
        styles: dict[tuple[str, str], Style] = {}
        for verdict in verdicts:
            baseline = self.baseline_of(str(verdict.facts["category"]))
            for name, prefix in ((verdict.model, ""), (baseline, "baseline_")):
                counts = [verdict.facts.get(f"{prefix}{feature}") for feature in _STYLE]
                if None not in counts:
                    styles[name, verdict.uid] = Style(*(int(count or 0) for count in counts))
        games = [_game(verdict) for verdict in verdicts]
        scores = arena_scores(games, self, styles=styles, allow_missing=allow_missing)
        facts: dict[str, Any] = {
            "settings": self.model_dump(mode="json"),
            "judges": sorted({verdict.judge for verdict in verdicts if verdict.judge}),
            "baselines": {score.category: score.baseline for score in scores},
            "style": {score.category: dict(score.style) for score in scores if score.style},
        }
        return Results("arena_hard", self.mode, tuple(_figure(score, self) for score in scores), facts=facts)

    def _published_prompts(self, assets: Assets) -> list[BenchmarkPrompt]:
        known = arena_prompts(assets, self.version)
        parts = {part for one in known for part in one.category.split("/")}
        unknown = [name for name in self.categories if name not in parts]
        if unknown:
            raise SettingsError(
                f"Arena-Hard {self.version} has no category {', '.join(unknown)}",
                remedy=f"its categories are {', '.join(sorted(parts))}",
            )
        return [one for one in known if not self.categories or {*one.category.split("/")} & {*self.categories}]

    def _games(
        self, question: ArenaQuestion, model: str, own: Sequence[str] | None, other: Sequence[str] | None
    ) -> list[JudgeRequest]:
        facts = {"category": question.category, "subcategory": question.subcategory}
        if not own or not other:
            who = "the model" if not own else "the baseline"
            return [
                JudgeRequest(
                    question.uid, model, f"game{game}", facts={**facts, "game": game},
                    fault=f"{who} has no completion of this prompt",
                )
                for game in (1, 2)
            ]  # fmt: skip
        style = asdict(style_of(own[-1]))
        style |= {f"baseline_{name}": count for name, count in asdict(style_of(other[-1])).items()}
        requests = arena_requests([question], {question.uid: own[-1]}, {question.uid: other[-1]}, self, model)
        return [self._request(request, {**facts, **style}) for request in requests]

    def _request(self, request: GameRequest, facts: Mapping[str, Any]) -> JudgeRequest:
        return JudgeRequest(
            request.question.uid,
            request.model,
            f"game{request.game}",
            request.messages,
            max_tokens=_TOKENS[self.version],
            facts={**facts, "game": request.game},
        )


def _sampling(prompt: BenchmarkPrompt) -> Sampling:
    """Upstream's for most models of the leaderboard: the likeliest tokens."""
    return Sampling(temperature=0.0, top_p=1.0, max_tokens=4096)


def _question(prompt: BenchmarkPrompt) -> ArenaQuestion:
    category, _, subcategory = prompt.category.partition("/")
    return ArenaQuestion(prompt.uid, prompt.text, category, subcategory)


def _game(verdict: JudgeVerdict) -> Game:
    facts = verdict.facts
    label = facts.get("label")
    known: Label | None = next((one for one in get_args(Label) if one == label), None)
    return Game(
        verdict.uid,
        verdict.model,
        1 if facts["game"] == 1 else 2,
        known,
        str(facts["category"]),
        str(facts.get("subcategory", "")),
        verdict.judge,
    )


def _figure(score: ArenaScore, rules: ArenaRules) -> Figure:
    held = f"{' and '.join(rules.control)} held equal" if rules.control else ""
    error = None if score.error != score.error else score.error
    return Figure(
        "win_rate", score.model, score.win_rate, score.missing, score.games, group=score.category, error=error,
        bounds=score.bounds, note=held,
    )  # fmt: skip
