"""MT-Bench as a benchmark: build, parse and score of `prefboost.evaluation.benchmark`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from prefboost.engines.engine import Sampling
from prefboost.errors import SettingsError
from prefboost.evaluation.assets import Assets
from prefboost.evaluation.baseline import baseline_of
from prefboost.evaluation.benchmark import BenchmarkPrompt, JudgeReply, JudgeRequest, JudgeVerdict, check_facts
from prefboost.evaluation.mt_bench.judging import (
    REFERENCED,
    TEMPERATURES,
    Grade,
    MtQuestion,
    MtRequest,
    MtRules,
    PairGame,
    Winner,
    grade_of,
    grading_requests,
    pair_requests,
    winner_of,
)
from prefboost.evaluation.mt_bench.scores import MtPairScore, MtScore, mt_pair_scores, mt_scores
from prefboost.evaluation.prepared import Prepared
from prefboost.evaluation.prompt_sets import mt_prompts, mt_questions, read_answers
from prefboost.evaluation.results import Figure, Results

__all__ = ["MtBench"]


class MtBench(MtRules):
    """MT-Bench: 80 questions of two turns, graded 1 to 10, or compared (arXiv 2306.05685)."""

    kind: Literal["mt_bench"] = Field("mt_bench", description="Grades of answers to two-turn questions.")
    prompts: Path | None = Field(
        None,
        description="JSON lines of questions of one's own: question_id, category, two turns, and reference answers to "
        "them where the category is math, reasoning or coding; none: the 80 published ones.",
    )

    def prepare(self, assets: Assets, models: Sequence[str]) -> Prepared:
        """See `prefboost.evaluation.prepared.JudgedBenchmark`."""
        prompts = mt_prompts(assets, self.references) if self.prompts is None else mt_questions(self.prompts)
        if self.grading == "single":
            return Prepared(self, prompts, sampling=_sampling)
        name, given = baseline_of(self.baseline, models, partial(read_answers, prompts=prompts))
        return Prepared(self.model_copy(update={"baseline": name}), prompts, given, _sampling)

    def build(
        self, prompts: Sequence[BenchmarkPrompt], completions: Mapping[str, Mapping[str, Sequence[str]]]
    ) -> list[JudgeRequest]:
        """Both turns of every prompt and model; pairwise each in both orders.

        Args:
            prompts: of two turns, with references where the category is shown some.
            completions: model -> uid -> what it said in both turns; pairwise the baseline's too.

        Raises:
            SettingsError: pairwise, and no baseline is named.
        """
        pairwise = self.grading == "pairwise"
        if pairwise and self.baseline is None:
            raise SettingsError("pairwise grading needs a baseline", remedy="write mt_bench.baseline=MODEL")
        against, found = self.baseline or "", list[JudgeRequest]()
        for model in completions:
            if pairwise and model == against:
                continue
            for prompt in prompts:
                own, other = (completions.get(name, {}).get(prompt.uid) for name in (model, against))
                fault = _fault(prompt, own, other if pairwise else ("", ""))
                found += self._faulty(prompt, model, fault) if fault else self._asked(prompt, model, own, other)
        return found

    def parse(self, request: JudgeRequest, reply: JudgeReply) -> JudgeVerdict:
        """The grade of a reply, 1 to 10; pairwise the share of the win."""
        fault = request.fault or reply.fault
        facts, value = dict(request.facts), None
        if self.grading == "single":
            value = None if fault else grade_of(reply.text, self.mode)
        else:
            facts["winner"] = None if fault else winner_of(reply.text, self.mode)
            value = _pair(JudgeVerdict(request.uid, request.model, request.part, None, facts)).share
        fault = fault or ("" if value is not None else "the reply holds no verdict in brackets")
        return JudgeVerdict(request.uid, request.model, request.part, value, facts, fault=fault)

    def score(self, verdicts: Sequence[JudgeVerdict], *, allow_missing: bool = False) -> Results:
        """Mean grades, overall, by turn and by category; or win rates against the baseline.

        Raises:
            DataError: robust: a judgement stands twice; or verdicts are of another benchmark.
        """
        check_facts(verdicts, ("category", "turn", *(() if self.grading == "single" else ("game",))), self.kind)
        figures: list[Figure] = []
        if self.grading == "single":
            grades = [_grade(verdict) for verdict in verdicts]
            for score in mt_scores(grades, self, allow_missing=allow_missing):
                figures += _grade_figures(score)
        else:
            pairs = [_pair(verdict) for verdict in verdicts]
            for compared in mt_pair_scores(pairs, self, allow_missing=allow_missing):
                figures += _pair_figures(compared)
        facts: dict[str, Any] = {
            "settings": self.model_dump(mode="json"),
            "judges": sorted({verdict.judge for verdict in verdicts if verdict.judge}),
        }
        return Results("mt_bench", self.mode, tuple(figures), facts=facts)

    def _asked(
        self, prompt: BenchmarkPrompt, model: str, own: Sequence[str] | None, other: Sequence[str] | None
    ) -> list[JudgeRequest]:
        question = MtQuestion(prompt.uid, prompt.category, (prompt.turns[0], prompt.turns[1]), prompt.reference)
        answers = {prompt.uid: _two(own)}
        if self.grading == "single":
            requests = grading_requests([question], answers, model)
        else:
            requests = pair_requests([question], answers, {prompt.uid: _two(other)}, model)
        return [_request(request) for request in requests]

    def _faulty(self, prompt: BenchmarkPrompt, model: str, fault: str) -> list[JudgeRequest]:
        games: tuple[int | None, ...] = (None,) if self.grading == "single" else (1, 2)
        return [
            JudgeRequest(prompt.uid, model, _part(turn, game), facts=_facts(prompt.category, turn, game), fault=fault)
            for turn in (1, 2)
            for game in games
        ]


def _sampling(prompt: BenchmarkPrompt) -> Sampling:
    """FastChat's: its temperature for the category (0.7 for others), at most 1024 tokens."""
    return Sampling(temperature=TEMPERATURES.get(prompt.category, 0.7), top_p=1.0, max_tokens=1024)


def _fault(prompt: BenchmarkPrompt, own: Sequence[str] | None, other: Sequence[str] | None) -> str:
    if len(prompt.turns) != 2:
        return f"the prompt has {len(prompt.turns)} turns, not two"
    if prompt.category in REFERENCED and len(prompt.reference) != 2:
        return "the judge has no reference for this prompt"
    lacking = [who for who, said in (("the model", own), ("the baseline", other)) if said is None or len(said) != 2]
    return f"{' and '.join(lacking)} did not complete both turns" if lacking else ""


def _two(said: Sequence[str] | None) -> tuple[str, str]:
    return (said[0], said[1]) if said else ("", "")


def _part(turn: int, game: int | None) -> str:
    return f"turn{turn}" if game is None else f"turn{turn}/game{game}"


def _facts(category: str, turn: int, game: int | None) -> dict[str, str | int]:
    return {"category": category, "turn": turn, **({} if game is None else {"game": game})}


def _request(request: MtRequest) -> JudgeRequest:
    facts = {**_facts(request.question.category, request.turn, request.game), "template": request.template}
    part = _part(request.turn, request.game)
    return JudgeRequest(request.question.question_id, request.model, part, request.messages, facts=facts)


def _grade(verdict: JudgeVerdict) -> Grade:
    facts = verdict.facts
    turn: Literal[1, 2] = 1 if facts["turn"] == 1 else 2
    return Grade(verdict.uid, str(facts["category"]), turn, verdict.model, verdict.value, verdict.judge)


def _pair(verdict: JudgeVerdict) -> PairGame:
    facts = verdict.facts
    known: dict[Any, Winner] = {"A": "A", "B": "B", "tie": "tie"}
    return PairGame(
        verdict.uid, str(facts["category"]), 1 if facts["turn"] == 1 else 2, verdict.model,
        1 if facts["game"] == 1 else 2, known.get(facts.get("winner")), verdict.judge,
    )  # fmt: skip


def _grade_figures(score: MtScore) -> Iterator[Figure]:
    counts = (score.missing, score.judgements)
    yield Figure("score", score.model, score.overall, *counts, bounds=score.bounds, unit="points")
    for turn, interval in sorted(score.by_turn.items()):
        yield Figure("score", score.model, interval, 0, interval.rows, group=f"turn {turn}", unit="points")
    for category, interval in score.by_category.items():
        yield Figure("score", score.model, interval, 0, interval.rows, group=category, unit="points")


def _pair_figures(score: MtPairScore) -> Iterator[Figure]:
    note = f"won {score.wins:.1f} % of turns; both orders agree on {score.consistency:.0%}"
    yield Figure("win_rate", score.model, score.win_rate, score.missing, score.games, note=note)
    for category, interval in score.by_category.items():
        yield Figure("win_rate", score.model, interval, 0, interval.rows, group=category)
