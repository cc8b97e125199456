"""AlpacaEval 2: one model against a baseline, by the log-probs of the judge's answer.

Protocol: tatsu-lab/alpaca_eval at cd543a1, `weighted_alpaca_eval_gpt4_turbo`, arXiv 2404.04475. Messages are objects: a
completion that holds chat markers stays data, where upstream splits text. What the judge is told stands in
`prefboost.evaluation.alpaca.prompts`, figures are in `prefboost.evaluation.alpaca.scores`.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from prefboost.evaluation.alpaca.prompts import SYSTEM, USER
from prefboost.evaluation.alpaca.scores import AlpacaRules, GamedRows, alpaca_results
from prefboost.evaluation.benchmark import BenchmarkPrompt, Fact, JudgeReply, JudgeRequest, JudgeVerdict
from prefboost.evaluation.results import Mode, Results

__all__ = ["CHOICES", "AlpacaEval", "official_order"]

CHOICES = ("m", "M")
"""What the judge may say: the first-shown completion, or the second."""

MISSING = "a completion is missing"


@dataclass(frozen=True)
class AlpacaEval:
    """The benchmark (`prefboost.evaluation.benchmark.Benchmark`), on its own 805 prompts or on any others.

    Args:
        rules: mode, interval, solver.
        baseline: the model that all others are compared with.
        difficulty: uid -> pre-fitted difficulty: of AlpacaEval's own prompts, baseline and judge alone; None takes the
            minimal length-controlled form, and the results say so.
        gamed: rows that hold the coefficient of length; only with difficulty.
    """

    rules: AlpacaRules = field(default_factory=AlpacaRules)
    baseline: str = "gpt4_1106_preview"
    difficulty: Mapping[str, float] | None = None
    gamed: GamedRows | None = None

    @property
    def mode(self) -> Mode:
        """See `prefboost.evaluation.results.Mode`."""
        return self.rules.mode

    def build(
        self, prompts: Sequence[BenchmarkPrompt], completions: Mapping[str, Mapping[str, Sequence[str]]]
    ) -> list[JudgeRequest]:
        """See `prefboost.evaluation.benchmark.Benchmark`. Equal completions tie without a call."""
        own = completions.get(self.baseline, {})
        return [
            self._request(prompt, model, (own.get(prompt.uid), its.get(prompt.uid)), model_first)
            for model, its in completions.items()
            if model != self.baseline
            for prompt in prompts
            for model_first in ([official_order(prompt.turns[0])] if self.mode == "official" else [False, True])
        ]

    def parse(self, request: JudgeRequest, reply: JudgeReply) -> JudgeVerdict:
        """See `prefboost.evaluation.benchmark.Benchmark`: P(M) / (P(m) + P(M)), turned where the model stood first."""
        share, fault = _second_share(reply, self.rules.least_mass)
        if request.fault or request.known is not None:
            share, fault = request.known, request.fault
        elif share is not None and request.facts.get("model_first"):
            share = 1 - share
        told: dict[str, Fact] = dict(request.facts)
        if reply.logprobs:
            told |= {"label_mass": sum(_probabilities(reply))}
        finite = [one for one in reply.logprobs if math.isfinite(one)]
        if len(finite) == len(CHOICES):
            told |= {"logprob_m": finite[0], "logprob_M": finite[1]}
        return JudgeVerdict(request.uid, request.model, request.part, share, told, fault=fault)

    def score(self, verdicts: Sequence[JudgeVerdict], *, allow_missing: bool = False) -> Results:
        """See `prefboost.evaluation.benchmark.Benchmark`."""
        facts = {"baseline": self.baseline, "rules": self.rules.model_dump(mode="json")}
        return alpaca_results(
            verdicts, self.rules, difficulty=self.difficulty, gamed=self.gamed, allow_missing=allow_missing, facts=facts
        )

    def _request(
        self,
        prompt: BenchmarkPrompt,
        model: str,
        both: tuple[Sequence[str] | None, Sequence[str] | None],
        model_first: bool,
    ) -> JudgeRequest:
        part = "model_first" if model_first else "baseline_first"
        if not both[0] or not both[1]:
            return JudgeRequest(
                prompt.uid, model, part, facts={"model_first": model_first, "category": prompt.category}, fault=MISSING
            )
        baseline, own = both[0][0], both[1][0]
        facts: dict[str, Fact] = {
            "model_first": model_first, "category": prompt.category, "len_1": len(baseline), "len_2": len(own),
            "completion": hashlib.sha256(own.encode("utf-8", "surrogatepass")).hexdigest()[:16],
        }  # fmt: skip
        if baseline == own:
            return JudgeRequest(prompt.uid, model, part, facts=facts, known=0.5)
        shown = (own, baseline) if model_first else (baseline, own)
        messages = (
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": USER % (prompt.text, *shown)},
        )
        return JudgeRequest(prompt.uid, model, part, messages, CHOICES, max_tokens=1, temperature=1.0, facts=facts)


def official_order(instruction: str) -> bool:
    """Whether upstream shows the model first: a coin seeded by the prompt's text."""
    return random.Random(f"is_switched_outputs{instruction}0").choices([False, True])[0]


def _second_share(reply: JudgeReply, min_mass: float) -> tuple[float | None, str]:
    """The share of the second-shown completion, or why there is none."""
    if reply.fault:
        return None, reply.fault
    if not reply.logprobs:
        said = reply.text.strip()
        return (float(CHOICES.index(said)), "") if said in CHOICES else (None, "the judge names neither m nor M")
    first, second = _probabilities(reply)
    if first + second == 0:
        return None, "neither m nor M is among the judge's likely answers"
    if first + second < min_mass:
        return None, f"the judge would say something else than m or M: their probability is below {min_mass:g}"
    return second / (first + second), ""


def _probabilities(reply: JudgeReply) -> list[float]:
    """Probability of either choice as what the judge says first; 0 where it is not known."""
    return [0.0 if math.isnan(one) else math.exp(min(one, 0.0)) for one in reply.logprobs]
