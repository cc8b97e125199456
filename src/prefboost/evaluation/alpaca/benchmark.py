"""AlpacaEval 2 as `prefboost evaluate` runs it: its 805 prompts or any others, and the baseline."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from prefboost.errors import DataError, Place
from prefboost.evaluation.alpaca.judging import AlpacaEval
from prefboost.evaluation.alpaca.scores import AlpacaRules, GamedRows
from prefboost.evaluation.assets import Assets
from prefboost.evaluation.baseline import resolve_baseline
from prefboost.evaluation.prompt_sets import read_answers
from prefboost.evaluation.protocols import PreparedBenchmark
from prefboost.evaluation.user_files import read_completions, read_user_prompts

__all__ = ["AlpacaSet", "read_gamed_rows"]

PUBLISHED = "gpt4_1106_preview"
"""Baseline of the 805 prompts; difficulty and gamed rows were fitted against it."""


class AlpacaSet(AlpacaRules):
    """AlpacaEval 2: win rate against a baseline, raw and length-controlled (arXiv 2404.04475)."""

    kind: Literal["alpaca_eval"] = Field("alpaca_eval", description="Win rate against a baseline, length-controlled.")
    prompts: Path | None = Field(None, description="A file of prompts of one's own; none: the 805 published ones.")
    baseline: str | None = Field(
        None,
        description="A file with instruction and output, or the name of a model of this run; none: gpt4_1106_preview, "
        "on own prompts the first model.",
    )

    @property
    def rules(self) -> AlpacaRules:
        """Rules of judging and scoring, without the prompts and the baseline."""
        return AlpacaRules(
            mode=self.mode,
            interval=self.interval,
            solver=self.solver,
            threads=self.threads,
            min_mass=self.min_mass,
        )

    def prepare(self, assets: Assets, models: Sequence[str]) -> PreparedBenchmark:
        """Read prompts and baseline; see `prefboost.evaluation.protocols.JudgedBenchmark`.

        Only the published prompts against the published baseline have difficulties; elsewhere the minimal
        length-controlled form is fitted.
        """
        if self.prompts is not None:
            prompts = read_user_prompts(self.prompts)
            name, completions = resolve_baseline(self.baseline, models, partial(read_answers, prompts=prompts))
            return PreparedBenchmark(AlpacaEval(self.rules, name), prompts, completions)
        prompts, answers = read_completions(assets.path("alpaca_eval_baseline"))
        if self.baseline not in (None, PUBLISHED):
            name, completions = resolve_baseline(self.baseline, models)
            return PreparedBenchmark(AlpacaEval(self.rules, name), prompts, completions)
        difficulties, gamed = read_gamed_rows(assets.path("alpaca_eval_gamed"))
        difficulty = {prompt.uid: difficulties[at] for at, prompt in enumerate(prompts)}
        return PreparedBenchmark(AlpacaEval(self.rules, PUBLISHED, difficulty, gamed), prompts, {PUBLISHED: answers})


def read_gamed_rows(path: Path) -> tuple[dict[int, float], GamedRows]:
    """Read the published rows of the baseline made long and short, and the difficulty of every prompt from them.

    Args:
        path: CSV with index, preference (0..1), std_delta_len and instruction_difficulty.

    Returns:
        difficulty by the position of the prompt among the 805, and the rows.

    Raises:
        DataError: the file holds something else.
    """
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        columns = {
            name: np.array([float(row[name]) for row in rows])
            for name in ("index", "preference", "std_delta_len", "instruction_difficulty")
        }
    except (KeyError, ValueError, TypeError) as error:
        raise DataError(
            f"this is not a file of gamed rows ({type(error).__name__}: {error})",
            remedy="give the published df_gamed.csv",
            place=Place(str(path)),
        ) from error
    positions, difficulties = columns["index"], columns["instruction_difficulty"]
    gamed = GamedRows(columns["preference"], columns["std_delta_len"], difficulties)
    return dict(zip(map(int, positions), map(float, difficulties), strict=True)), gamed
