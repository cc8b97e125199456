"""Arena-Hard-Auto as a benchmark: build, parse and score of `prefboost.evaluation.benchmark`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from prefboost.engines.engine import Sampling
from prefboost.errors import SettingsError
from prefboost.evaluation.arena_hard.judging import ArenaRules, build_arena_messages, compute_share, parse_label
from prefboost.evaluation.arena_hard.scores import score_categories
from prefboost.evaluation.arena_hard.style import count_style
from prefboost.evaluation.assets import Assets
from prefboost.evaluation.baseline import resolve_baseline
from prefboost.evaluation.benchmark import BenchmarkPrompt, JudgeReply, JudgeRequest, JudgeVerdict, check_facts
from prefboost.evaluation.prompt_sets import read_answers, read_arena_answers, read_arena_prompts
from prefboost.evaluation.protocols import PreparedBenchmark
from prefboost.evaluation.results import Results
from prefboost.evaluation.user_files import read_user_prompts

__all__ = ["ArenaHard"]

_TOKENS = {"v0.1": 4096, "v2.0": 16000}
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

    def prepare(self, assets: Assets, models: Sequence[str]) -> PreparedBenchmark:
        """Read prompts and baselines; see `prefboost.evaluation.protocols.JudgedBenchmark`.

        Published prompts are compared with the published baseline of their category, unless another one is named: a
        model of the run, or a file of completions. Prompts of a user's file are compared with the first model where
        none is named.
        """
        prompts = read_arena_prompts(assets, self.version) if self.prompts is None else read_user_prompts(self.prompts)
        if self.prompts is None:
            parts = {part for prompt in prompts for part in prompt.category.split("/")}
            unknown = [name for name in self.categories if name not in parts]
            if unknown:
                raise SettingsError(
                    f"Arena-Hard {self.version} has no category {', '.join(unknown)}",
                    remedy=f"its categories are {', '.join(sorted(parts))}",
                )
            names = {*self.categories} or parts
            prompts = [prompt for prompt in prompts if names.intersection(prompt.category.split("/"))]
        if self.prompts is None and self.baseline is None:
            baselines = {self.find_baseline(_split_category(prompt)[0]) for prompt in prompts} - {*models}
            answers = {name: read_arena_answers(assets.path(_BASELINES[name])) for name in sorted(baselines)}
            return PreparedBenchmark(self, prompts, answers, _choose_sampling)
        name, completions = resolve_baseline(self.baseline, models, partial(read_answers, prompts=prompts))
        return PreparedBenchmark(self.model_copy(update={"baseline": name}), prompts, completions, _choose_sampling)

    def build(
        self, prompts: Sequence[BenchmarkPrompt], completions: Mapping[str, Mapping[str, Sequence[str]]]
    ) -> list[JudgeRequest]:
        """Build both games of every prompt and model.

        Args:
            prompts: their category is CATEGORY or CATEGORY/SUBCATEGORY.
            completions: model -> uid -> its completion; the baselines among them.

        Raises:
            SettingsError: the version has no such category, and no baseline is named.
        """
        baselines = {prompt.uid: self.find_baseline(_split_category(prompt)[0]) for prompt in prompts}
        requests = []
        for model, prompt in product((model for model in completions if model not in baselines.values()), prompts):
            completion = completions[model].get(prompt.uid)
            baseline = completions.get(baselines[prompt.uid], {}).get(prompt.uid)
            category, subcategory = _split_category(prompt)
            facts: dict[str, object] = {"category": category, "subcategory": subcategory}
            if not completion or not baseline:
                fault = f"{'the baseline' if completion else 'the model'} has no completion of this prompt"
                requests += [
                    JudgeRequest(prompt.uid, model, f"game{game}", facts={**facts, "game": game}, fault=fault)
                    for game in (1, 2)
                ]
                continue
            facts |= asdict(count_style(completion[-1]))
            facts |= {f"baseline_{name}": count for name, count in asdict(count_style(baseline[-1])).items()}
            orders = {1: (baseline[-1], completion[-1]), 2: (completion[-1], baseline[-1])}
            requests += [
                JudgeRequest(
                    prompt.uid,
                    model,
                    f"game{game}",
                    build_arena_messages(prompt.text, answers, category, self.version),
                    max_tokens=_TOKENS[self.version],
                    facts={**facts, "game": game},
                )
                for game, answers in orders.items()
            ]
        return requests

    def parse(self, request: JudgeRequest, reply: JudgeReply) -> JudgeVerdict:
        """Read the label of a reply, and the share of the win that it gives the rated model."""
        label = None if reply.fault or request.fault else parse_label(reply.text, self.version)
        fault = request.fault or reply.fault or ("" if label else "the reply holds no verdict label")
        share = compute_share(label, request.facts["game"])
        facts = {**request.facts, "label": label}
        return JudgeVerdict(request.uid, request.model, request.part, share, facts, fault=fault)

    def score(self, verdicts: Sequence[JudgeVerdict], *, allow_missing: bool = False) -> Results:
        """Compute the win rate of every model in every category.

        Raises:
            DataError: a named category has no verdict, a game was judged twice, or verdicts are of another benchmark.
        """
        check_facts(verdicts, ("category", "game"), self.kind)
        scores = score_categories(verdicts, self, allow_missing=allow_missing)
        facts: dict[str, Any] = {
            "settings": self.model_dump(mode="json"),
            "judges": sorted({verdict.judge for verdict in verdicts if verdict.judge}),
            "baselines": {score.category: score.baseline for score in scores},
            "style": {score.category: dict(score.style) for score in scores if score.style},
        }
        figures = tuple(figure for score in scores for figure in score.figures)
        return Results("arena_hard", self.mode, figures, facts=facts)


def _choose_sampling(prompt: BenchmarkPrompt) -> Sampling:
    """Take the likeliest tokens, as upstream does for most models of the leaderboard."""
    return Sampling(temperature=0.0, top_p=1.0, max_tokens=4096)


def _split_category(prompt: BenchmarkPrompt) -> tuple[str, str]:
    category, _, subcategory = prompt.category.partition("/")
    return category, subcategory
