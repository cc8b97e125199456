"""Two or more models or goals on any prompts: a judge's preference, raw and at equal length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import Field

from prefboost.errors import SettingsError
from prefboost.evaluation.alpaca.judging import AlpacaEval
from prefboost.evaluation.alpaca.scores import AlpacaRules
from prefboost.evaluation.assets import Assets
from prefboost.evaluation.baseline import resolve_baseline
from prefboost.evaluation.benchmark import JudgeVerdict
from prefboost.evaluation.prompt_sets import read_answers
from prefboost.evaluation.protocols import PreparedBenchmark
from prefboost.evaluation.results import Results
from prefboost.evaluation.user_files import read_user_prompts

__all__ = ["Pairwise"]


class Pairwise(AlpacaRules):
    """A judge's preference between models, goals, or both, on any prompts and in both orders."""

    kind: Literal["pairwise"] = Field("pairwise", description="Models or goals against one of them, on any prompts.")
    prompts: Path | None = Field(None, description="The file of prompts.")
    baseline: str | None = Field(
        None, description="Name of a model of this run, or a file with instruction and output; none: the first model."
    )

    def prepare(self, assets: Assets, models: Sequence[str]) -> PreparedBenchmark:
        """Read prompts and baseline; see `prefboost.evaluation.protocols.JudgedBenchmark`."""
        if self.prompts is None:
            raise SettingsError("pairwise has no prompts", remedy="write pairwise.prompts=FILE")
        prompts = read_user_prompts(self.prompts)
        name, completions = resolve_baseline(self.baseline, models, partial(read_answers, prompts=prompts))
        rules = AlpacaRules(
            mode=self.mode,
            interval=self.interval,
            solver=self.solver,
            threads=self.threads,
            min_mass=self.min_mass,
        )
        return PreparedBenchmark(Compared(rules, name), prompts, completions)


@dataclass(frozen=True)
class Compared(AlpacaEval):
    """AlpacaEval's question to the judge on any prompts; results are named pairwise."""

    def score(self, verdicts: Sequence[JudgeVerdict], *, allow_missing: bool = False) -> Results:
        """Compute the figures of every model; see `prefboost.evaluation.benchmark.Benchmark`."""
        return replace(super().score(verdicts, allow_missing=allow_missing), benchmark="pairwise")
