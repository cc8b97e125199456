"""`diagnose_frontier`: score against KL of several policies, on completions that are there or that they write now."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import polars as pl
from pydantic import Field, model_validator

from prefboost.diagnosis.frontier import CompareFrontiers, FrontierReport, PolicyPoint, measure_frontier
from prefboost.diagnosis.log_ratios import ComparePolicies, open_policy_reader
from prefboost.engines.engine import Sampling
from prefboost.errors import DataError, Place, SettingsError
from prefboost.progress import Tell
from prefboost.runs.diagnose.policy_completions import (
    CompletionMeasures,
    measure_scored_completions,
    sample_completions,
)
from prefboost.runs.diagnose.report_file import guard_report, write_report
from prefboost.runs.outputs import locate_store
from prefboost.scoring.scorer import SCORERS, Scorer
from prefboost.settings import choice
from prefboost.tables import SCORED_COMPLETIONS, Table
from prefboost.training.claim import MODEL

__all__ = ["DiagnoseFrontier", "diagnose_frontier"]

Trained = tuple[str, ...]
"""Models of one setting, trained with different seeds."""


class DiagnoseFrontier(ComparePolicies, CompareFrontiers):
    """Settings of `diagnose_frontier`."""

    models: tuple[str, ...] = Field((), description="Policies that are an arm each: model or run folders.")
    arms: dict[str, tuple[str | Trained, ...]] = Field(
        {},
        description="Arm to its points: model or run folders, each alone or as a list over seeds, e.g. "
        "arms.ra=[early,late] or arms.ra=[[early-1,early-2],[late-1,late-2]].",
    )
    goal: float | None = Field(
        None, description="Score that policies are asked for whose template asks for one; none: the top of each."
    )
    scorer: Annotated[Scorer, choice(SCORERS)] | None = Field(
        None,
        description="Scores the completions that every policy writes to the prompts; none: IN holds scored completions "
        "with the policy that wrote them in the column model.",
    )
    sampling: Sampling = Field(Sampling(max_tokens=256), description="Sampling of completions.")
    samples: int = Field(1, ge=1, description="Completions per prompt.")

    @model_validator(mode="after")
    def _names_policies(self) -> DiagnoseFrontier:
        if not self.models and not self.arms:
            raise ValueError("no policy is named; write models=[FOLDER] or arms.NAME=[FOLDER, FOLDER]")
        return self

    def list_policies(self) -> Iterator[tuple[str, str, int, str]]:
        """Yield arm, setting, seed and model of every policy."""
        for arm, points in {**{model: (model,) for model in self.models}, **self.arms}.items():
            for point in points:
                over_seeds = (point,) if isinstance(point, str) else point
                # The first one's name stands for the setting: seeds differ in their folders alone.
                yield from ((arm, over_seeds[0], seed, model) for seed, model in enumerate(over_seeds, 1))


def diagnose_frontier(
    table: Table,
    settings: DiagnoseFrontier,
    out: str | Path,
    *,
    store: str | Path | None = None,
    progress: Tell = lambda _: None,
) -> FrontierReport:
    """Measure score against KL of several policies, and compare them at equal KL.

    Args:
        table: with a scorer any table with held-out prompts, which every policy and the start model complete; without
            one ScoredCompletions with the columns ``model`` and, for policies that were asked for a score, ``goal``.
        settings: start model, policies, scorer.
        out: ``.json`` file for the report. ``OUT.store`` keeps log-probs, and with a scorer ``OUT.policies`` the
            completions: the same call after an interruption resumes, and a further policy costs only itself.
        store: a folder to use in the place of ``OUT.store``.
        progress: called after every batch.

    Raises:
        DataError: a policy has no scored completions, or no prompt is common to all.
        ModelError: a model cannot be loaded, or the models have different tokens.
        RunError: the output is an input, or a file that `diagnose` did not write.
        SettingsError: a policy's template asks for goals, and nothing says which is its top.
    """
    target = Path(out)
    guard_report(target, [table], [settings])
    start, logps = settings.start_model, Path(store or locate_store(target))
    points, origin = [], {}
    policies = [("", "", 0, settings.start), *settings.list_policies()]
    for number, (arm, setting, seed, name) in enumerate(policies):
        # A run folder stands for the model that it trained.
        model = str(Path(name) / MODEL) if (Path(name) / MODEL).is_dir() else name
        if settings.scorer is not None:
            how = CompletionMeasures(settings.scorer, settings.sampling, settings.samples)
            goal = _choose_goal(settings, model)
            # By its name: an arm that is added to the command moves no other one's completions.
            folder = target.with_name(f"{target.name}.policies") / hashlib.sha256(model.encode()).hexdigest()[:16]
            scored = sample_completions(table, model, goal, how, folder, progress)
        else:
            scored = _select_completions(table, {name, model}, required=number > 0)
        measures = measure_scored_completions(scored, model, start, logps, progress) if len(scored) else {}
        if number:
            points.append(PolicyPoint(arm, setting, seed, measures.get("score", {}), measures.get("kl", {})))
        else:
            origin = measures.get("score", {})
    report = measure_frontier(points, origin or None, settings)
    write_report(target, "frontier", report.record())
    return report


def _choose_goal(settings: DiagnoseFrontier, model: str) -> float | None:
    """Choose the score that a policy is asked for: none where its template asks for none."""
    if model == settings.start or not open_policy_reader(model, settings.start_model).asks:
        return None
    facts = Path(model) / "prefboost.json"
    top = json.loads(facts.read_text(encoding="utf-8")).get("top") if facts.exists() else None
    goal = top if settings.goal is None else settings.goal
    if goal is None:
        raise SettingsError(f"{model} asks for a goal, and does not say which is its highest", remedy="write goal=10")
    return float(goal)


def _select_completions(table: Table, names: set[str], *, required: bool) -> Table:
    """Select the scored completions that a policy wrote; of the start model there may be none."""
    columns = table.frame.columns
    if table.spec is not SCORED_COMPLETIONS or "model" not in columns:
        raise DataError(
            f"scored completions with the policy that wrote them are needed, found {table.spec.name}"
            + ("" if "model" in columns else " without a column model"),
            remedy="name a scorer, e.g. scorer.kind=rules, or give what prefboost generate and score wrote",
            place=Place(path=table.path),
        )
    frame = table.frame.filter(pl.col("model").is_in(list(names)) & pl.col("score").is_not_null())
    if frame.is_empty() and required:
        writers = ", ".join(map(str, table.frame["model"].unique().sort().to_list()[:5]))
        raise DataError(
            f"no scored completion of {' or '.join(sorted(names))}; the column model names {writers}",
            remedy="name policies as the file does, or add their completions",
            place=Place(path=table.path),
        )
    return Table(table.spec, frame, path=table.path)
