"""MT-Bench as a benchmark: build, parse and score of `prefboost.evaluation.benchmark`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from prefboost.engines.engine import Sampling
from prefboost.errors import SettingsError
from prefboost.evaluation.assets import Assets
from prefboost.evaluation.baseline import resolve_baseline
from prefboost.evaluation.benchmark import BenchmarkPrompt, JudgeReply, JudgeRequest, JudgeVerdict, check_facts
from prefboost.evaluation.mt_bench.judging import (
    REFERENCED,
    TEMPERATURES,
    MtRules,
    Turn,
    build_grade_messages,
    build_pair_messages,
    compute_pair_share,
    parse_grade,
    parse_winner,
)
from prefboost.evaluation.mt_bench.scores import score_grades, score_pairs
from prefboost.evaluation.prompt_sets import read_answers, read_mt_prompts, read_mt_questions
from prefboost.evaluation.protocols import PreparedBenchmark
from prefboost.evaluation.results import Results

__all__ = ["MtBench"]

_TURNS: tuple[Turn, Turn] = (1, 2)


class MtBench(MtRules):
    """MT-Bench: 80 questions of two turns, graded 1 to 10, or compared (arXiv 2306.05685)."""

    kind: Literal["mt_bench"] = Field("mt_bench", description="Grades of answers to two-turn questions.")
    prompts: Path | None = Field(
        None,
        description="JSON lines of questions of one's own: question_id, category, two turns, and reference answers to "
        "them where the category is math, reasoning or coding; none: the 80 published ones.",
    )

    def prepare(self, assets: Assets, models: Sequence[str]) -> PreparedBenchmark:
        """Read prompts, references and baseline; see `prefboost.evaluation.protocols.JudgedBenchmark`."""
        prompts = read_mt_prompts(assets, self.references) if self.prompts is None else read_mt_questions(self.prompts)
        if self.grading == "single":
            return PreparedBenchmark(self, prompts, sampling=_choose_sampling)
        name, completions = resolve_baseline(self.baseline, models, partial(read_answers, prompts=prompts))
        return PreparedBenchmark(self.model_copy(update={"baseline": name}), prompts, completions, _choose_sampling)

    def build(
        self, prompts: Sequence[BenchmarkPrompt], completions: Mapping[str, Mapping[str, Sequence[str]]]
    ) -> list[JudgeRequest]:
        """Build requests for both turns of every prompt and model; pairwise each in both orders.

        Args:
            prompts: two turns each, with references where the category is shown some.
            completions: model -> uid -> its completions of both turns; pairwise the baseline's too.

        Raises:
            SettingsError: pairwise, and no baseline is named.
        """
        is_single = self.grading == "single"
        if not is_single and self.baseline is None:
            raise SettingsError("pairwise grading needs a baseline", remedy="write mt_bench.baseline=MODEL")
        models = [model for model in completions if is_single or model != self.baseline]
        baselines = {} if self.baseline is None else completions.get(self.baseline, {})
        requests = []
        for model, prompt in product(models, prompts):
            answers = completions[model].get(prompt.uid, ())
            baseline = baselines.get(prompt.uid, ())
            fault = _find_fault(prompt, {"the model": answers} | ({} if is_single else {"the baseline": baseline}))
            for turn, game in product(_TURNS, (None,) if is_single else (1, 2)):
                facts: dict[str, object] = {"category": prompt.category, "turn": turn}
                facts |= {} if game is None else {"game": game}
                messages: tuple[Mapping[str, str], ...] = ()
                if not fault and game is None:
                    facts["template"], messages = build_grade_messages(prompt, turn, answers)
                elif not fault:
                    first, second = (answers, baseline) if game == 1 else (baseline, answers)
                    facts["template"], messages = build_pair_messages(prompt, turn, first, second)
                part = f"turn{turn}" if game is None else f"turn{turn}/game{game}"
                requests.append(JudgeRequest(prompt.uid, model, part, messages, facts=facts, fault=fault))
        return requests

    def parse(self, request: JudgeRequest, reply: JudgeReply) -> JudgeVerdict:
        """Read the grade of a reply, 1 to 10; pairwise the rated model's share of the win."""
        fault = request.fault or reply.fault
        facts, value = dict(request.facts), None
        if self.grading == "single":
            value = None if fault else parse_grade(reply.text, self.mode)
        else:
            winner = None if fault else parse_winner(reply.text, self.mode)
            facts["winner"], value = winner, compute_pair_share(winner, facts["game"])
        fault = fault or ("" if value is not None else "the reply holds no verdict in brackets")
        return JudgeVerdict(request.uid, request.model, request.part, value, facts, fault=fault)

    def score(self, verdicts: Sequence[JudgeVerdict], *, allow_missing: bool = False) -> Results:
        """Compute mean grades, overall, per turn and per category; pairwise win rates against the baseline.

        Raises:
            DataError: robust: a turn was judged twice; or verdicts are of another benchmark.
        """
        is_single = self.grading == "single"
        check_facts(verdicts, ("category", "turn", *(() if is_single else ("game",))), self.kind)
        figures = (score_grades if is_single else score_pairs)(verdicts, self, allow_missing=allow_missing)
        facts: dict[str, Any] = {
            "settings": self.model_dump(mode="json"),
            "judges": sorted({verdict.judge for verdict in verdicts if verdict.judge}),
        }
        return Results("mt_bench", self.mode, tuple(figures), facts=facts)


def _choose_sampling(prompt: BenchmarkPrompt) -> Sampling:
    """Return FastChat's sampling: the temperature of the category (0.7 for others), at most 1024 tokens."""
    return Sampling(temperature=TEMPERATURES.get(prompt.category, 0.7), top_p=1.0, max_tokens=1024)


def _find_fault(prompt: BenchmarkPrompt, answers: Mapping[str, Sequence[str]]) -> str:
    """Return why a prompt cannot be judged; an empty string where it can."""
    if len(prompt.turns) != 2:
        return f"the prompt has {len(prompt.turns)} turns, not two"
    if prompt.category in REFERENCED and len(prompt.reference) != 2:
        return "the judge has no reference for this prompt"
    lacking = [side for side, turns in answers.items() if len(turns) != 2]
    return f"{' and '.join(lacking)} did not complete both turns" if lacking else ""
