"""AlpacaEval 2: one model against a baseline, by the log-probs of the judge's answer.

Protocol: tatsu-lab/alpaca_eval at cd543a1, `weighted_alpaca_eval_gpt4_turbo`, arXiv 2404.04475. Messages are objects: a
completion that holds chat markers stays data, where upstream splits text. `prefboost.evaluation.alpaca.prompts` has the
judge's messages, `prefboost.evaluation.alpaca.scores` the figures.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from prefboost.evaluation.alpaca.prompts import SYSTEM, USER
from prefboost.evaluation.alpaca.scores import AlpacaRules, GamedRows, score_preferences
from prefboost.evaluation.benchmark import BenchmarkPrompt, JudgeReply, JudgeRequest, JudgeVerdict
from prefboost.evaluation.results import Mode, Results

__all__ = ["CHOICES", "AlpacaEval", "shows_model_first"]

CHOICES = ("m", "M")
"""Answers of the judge: the first-shown completion, or the second."""

MISSING = "a completion is missing"


@dataclass(frozen=True)
class AlpacaEval:
    """The benchmark (`prefboost.evaluation.benchmark.Benchmark`), on its own 805 prompts or on any others.

    Args:
        rules: mode, interval, solver.
        baseline: the model that all others are compared with.
        difficulty: uid -> pre-fitted difficulty, which exists for AlpacaEval's own prompts, baseline and judge alone;
            None takes the minimal length-controlled form, and the results say so.
        gamed: rows that regularise the coefficient of length; only with difficulty.
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
        """Build the requests; see `prefboost.evaluation.benchmark.Benchmark`. Equal completions tie without a call."""
        baselines = completions.get(self.baseline, {})
        requests = []
        for model, answers in completions.items():
            if model == self.baseline:
                continue
            for prompt in prompts:
                sides = (baselines.get(prompt.uid), answers.get(prompt.uid))
                orders = [shows_model_first(prompt.turns[0])] if self.mode == "official" else [False, True]
                requests += [self._build_request(prompt, model, sides, model_first) for model_first in orders]
        return requests

    def parse(self, request: JudgeRequest, reply: JudgeReply) -> JudgeVerdict:
        """Read P(M) / (P(m) + P(M)) of a reply, turned where the model is shown first."""
        share, fault = _read_second_share(reply, self.rules.least_mass)
        if not request.needs_call:
            share, fault = request.value, request.fault
        elif share is not None and request.facts.get("model_first"):
            share = 1 - share
        facts = dict(request.facts)
        if reply.logprobs:
            facts["label_mass"] = sum(_read_probabilities(reply))
        finite = [logprob for logprob in reply.logprobs if math.isfinite(logprob)]
        if len(finite) == len(CHOICES):
            facts |= {"logprob_m": finite[0], "logprob_M": finite[1]}
        return JudgeVerdict(request.uid, request.model, request.part, share, facts, fault=fault)

    def score(self, verdicts: Sequence[JudgeVerdict], *, allow_missing: bool = False) -> Results:
        """Compute the figures of every model; see `prefboost.evaluation.benchmark.Benchmark`."""
        facts = {"baseline": self.baseline, "rules": self.rules.model_dump(mode="json")}
        return score_preferences(
            verdicts, self.rules, difficulty=self.difficulty, gamed=self.gamed, allow_missing=allow_missing, facts=facts
        )

    def _build_request(
        self,
        prompt: BenchmarkPrompt,
        model: str,
        sides: tuple[Sequence[str] | None, Sequence[str] | None],
        model_first: bool,
    ) -> JudgeRequest:
        part = "model_first" if model_first else "baseline_first"
        facts: dict[str, object] = {"model_first": model_first, "category": prompt.category}
        if not sides[0] or not sides[1]:
            return JudgeRequest(prompt.uid, model, part, facts=facts, fault=MISSING)
        baseline, completion = sides[0][0], sides[1][0]
        # The digest shows later whether a verdict is on the same completion; the text itself would fill the file.
        digest = hashlib.sha256(completion.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        facts |= {"len_1": len(baseline), "len_2": len(completion), "completion": digest}
        # A call would only measure the preference of the judge for a place, and would cost money.
        if baseline == completion:
            return JudgeRequest(prompt.uid, model, part, facts=facts, value=0.5)
        sides = (completion, baseline) if model_first else (baseline, completion)
        messages = (
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": USER % (prompt.text, *sides)},
        )
        return JudgeRequest(prompt.uid, model, part, messages, CHOICES, max_tokens=1, temperature=1.0, facts=facts)


def shows_model_first(instruction: str) -> bool:
    """Tell whether upstream shows the model first: a coin seeded by the prompt's text."""
    # The string and the trailing 0 are upstream's: another seed gives other orders than the published verdicts have.
    return random.Random(f"is_switched_outputs{instruction}0").choices([False, True])[0]


def _read_second_share(reply: JudgeReply, min_mass: float) -> tuple[float | None, str]:
    """Return the second-shown completion's share of the win, or None and the reason."""
    if reply.fault:
        return None, reply.fault
    if not reply.logprobs:
        answer = reply.text.strip()
        return (float(CHOICES.index(answer)), "") if answer in CHOICES else (None, "the judge names neither m nor M")
    first, second = _read_probabilities(reply)
    if first + second == 0:
        return None, "neither m nor M is among the judge's likely answers"
    if first + second < min_mass:
        return None, f"the judge would say something else than m or M: their probability is below {min_mass:g}"
    # The rest of the probability is on answers that are neither label, so that the two shares are scaled up to 1.
    return second / (first + second), ""


def _read_probabilities(reply: JudgeReply) -> list[float]:
    """Return the probability that the answer begins with each choice; 0 where it is unknown."""
    return [0.0 if math.isnan(logprob) else math.exp(min(logprob, 0.0)) for logprob in reply.logprobs]
