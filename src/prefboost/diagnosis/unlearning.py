"""Change of the log-probs of completions by score, brought by one checkpoint or several.

A preference loss pushes the rejected completion down, however good it is, and may push the chosen one down as well
(likelihood displacement, arXiv 2410.08847). Both show as changes of the log-prob of the very completions that were
trained on, or of held-out ones, against the model that the training began with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from prefboost.diagnosis.log_ratios import ComparePolicies, compute_policy_ratios, open_policy_reader
from prefboost.errors import DataError, Place
from prefboost.scoring.sequence_logps import Encoded
from prefboost.scoring.sides import ScoredItem, Scores, list_scored_items, read_item_scores
from prefboost.statistics import Interval, bootstrap, bootstrap_mean
from prefboost.statistics.json_form import replace_nan

if TYPE_CHECKING:
    from prefboost.engines.call_session import CallSession
    from prefboost.tables import Table

__all__ = [
    "BucketChange",
    "CompletionChanges",
    "DiagnoseUnlearning",
    "ModelChange",
    "UnlearningReport",
    "measure_changes",
    "summarise_changes",
]

Goals = Literal["own", "none"] | float
"""Goal of the prompts: each completion's own score, none, or a number."""


class DiagnoseUnlearning(ComparePolicies):
    """Settings of `measure_changes`."""

    goal: Literal["auto", "own", "none"] | float = Field(
        "auto",
        description="Goal in the prompts: own: each completion's own score, as goal-conditioned policies are trained; "
        "none; a number; auto: own for a policy whose chat template asks for goals, none for any other.",
    )
    scores: tuple[float, ...] = Field(
        (), description="Borders between the buckets of scores, e.g. [4,7]; none: the quartiles of the scores."
    )
    limit: int | None = Field(None, ge=1, description="Take the first rows only.")


@dataclass(frozen=True)
class BucketChange:
    """Change of the log-probs of completions of one side whose scores lie in one bucket.

    Args:
        side: chosen, rejected, or completion.
        low, high: borders of the scores: low <= score < high; None: open.
        change: mean change in nats per completion; its clusters are prompts.
        per_token: change in nats over all tokens, per token.
        less_likely: share of completions whose log-prob fell, 0..1.
    """

    side: str
    low: float | None
    high: float | None
    change: Interval
    per_token: Interval
    less_likely: float

    @property
    def label(self) -> str:
        """Name of side and bucket.

        >>> BucketChange("rejected", 4, 7, None, None, 0.5).label
        'rejected, 4 <= score < 7'
        """
        low = "" if self.low is None else f"{self.low:g} <= "
        high = "" if self.high is None else f" < {self.high:g}"
        return f"{self.side}, {low}score{high}" if low or high else f"{self.side}, all scores"


@dataclass(frozen=True)
class ModelChange:
    """Changes that one checkpoint brings against the start model.

    Args:
        model: its name.
        goals: own, none, or the number that prompts ask for.
        buckets: by side and score.
        margin: mean change of log-prob of chosen minus rejected, in nats; None where completions stand alone.
        displaced: the margin grows while the chosen completions themselves become less likely, both beyond doubt.
    """

    model: str
    goals: str
    buckets: tuple[BucketChange, ...]
    margin: Interval | None
    displaced: bool


@dataclass(frozen=True)
class UnlearningReport:
    """Report of `measure_changes`.

    Args:
        start: the model that the training began with.
        models: one entry per checkpoint, in the order given.
        completions: measured, of each checkpoint the same.
        rejected: reason -> completions that are left out.
    """

    start: str
    models: tuple[ModelChange, ...]
    completions: int
    rejected: Mapping[str, int]

    def record(self) -> dict[str, Any]:
        """Return the JSON form; ends of intervals that are unknown are null, since JSON has no NaN."""
        values: dict[str, Any] = replace_nan(asdict(self))
        return values

    def lines(self) -> Iterator[str]:
        """Yield the printed report, line by line."""
        yield f"{self.completions:,} completions; change of log-prob against {self.start}, 95 % intervals over prompts"
        for model in self.models:
            yield f"{model.model} (goal: {model.goals})"
            width = max(len(bucket.label) for bucket in model.buckets)
            for bucket in model.buckets:
                yield (
                    f"  {bucket.label:<{width}}  {bucket.change.format(signed=True)} nats per completion, "
                    f"{bucket.per_token.format(3, signed=True)} per token, {bucket.less_likely:.0%} less likely "
                    f"(n={bucket.change.rows:,})"
                )
            if model.margin is not None:
                yield f"  margin of chosen over rejected: {model.margin.format(signed=True)} nats"
            if model.displaced:
                yield (
                    "  warning: likelihood displacement: the margin grows while chosen completions become less likely "
                    "-> lower the learning rate, raise beta, or add a likelihood term (train.loss kind: sum, with sft)"
                )
        for reason, count in self.rejected.items():
            yield f"{count:,} left out: {reason}"


def measure_changes(table: Table, settings: DiagnoseUnlearning, session: CallSession) -> UnlearningReport:
    """Measure how checkpoints changed the log-probs of completions.

    The prompts of a checkpoint and of the start model are the same token ids, goals included, so that the difference
    is what the training did.

    Args:
        table: PreferencePairs, ScoredCompletions or Completions; scores on the scale that the policy was trained with.
        settings: models, goals, buckets.
        session: store and progress.

    Raises:
        DataError: the table holds no completions, or none could be measured.
        ModelError: a model cannot be loaded, or the models have different tokens.
    """
    items, faults = list_scored_items(table)[: settings.limit], Scores()
    score_of = {(item.row, item.side): score for item, score in zip(items, read_item_scores(table, items), strict=True)}
    goals: dict[str, Goals] = {}
    readable: dict[str, dict[tuple[int, str], Encoded]] = {}
    for name in settings.models:
        reader = open_policy_reader(name, settings.start_model, settings.max_length)
        goal = ("own" if reader.asks else "none") if settings.goal == "auto" else settings.goal
        goals[name], usable = goal, items
        goal_of = score_of if goal == "own" else dict.fromkeys(score_of, None if goal == "none" else goal)
        if goal == "own":
            usable = [item for item in items if score_of[item.row, item.side] is not None]
            unscored = (key for key, score in score_of.items() if score is None)
            faults.faults |= dict.fromkeys(unscored, ("it has no score that its prompt could ask for", ""))
        readable[name] = reader.encode(usable, faults, lambda item, goal_of=goal_of: goal_of[item.row, item.side])  # type: ignore[misc]
    # One set of completions for all checkpoints, or their figures could not be compared.
    measured = [item for item in items if all((item.row, item.side) in ids for ids in readable.values())]
    if not measured:
        reason = next(iter(faults.faults.values()), ("there are no rows", ""))
        raise DataError(
            f"none of {len(items):,} completions can be measured: {': '.join(filter(None, reason))}",
            remedy="give scored pairs or completions that the models can read",
            place=Place(path=table.path),
        )
    prompts = [table.frame["prompt_id"][item.row] for item in measured]
    scores = [score_of[item.row, item.side] for item in measured]
    texts = {name: [ids[item.row, item.side] for item in measured] for name, ids in readable.items()}
    changes = []
    for name, ratios in compute_policy_ratios(settings.start_model, texts, session).items():
        lengths = np.array([len(answer) for _, answer in texts[name]], dtype=float)
        rows = CompletionChanges(measured, prompts, scores, ratios, lengths)
        changes.append(summarise_changes(name, str(goals[name]), rows, settings.scores))
    rejected = Counter(reason for reason, _ in faults.faults.values())
    return UnlearningReport(settings.start, tuple(changes), len(measured), dict(rejected))


@dataclass(frozen=True)
class CompletionChanges:
    """Changes of the log-probs of N completions.

    Args:
        items: the completions.
        prompts: prompt_id of each.
        scores: score of each; None: it has none.
        changes: [N], nats per completion.
        lengths: [N], tokens of each completion.
    """

    items: Sequence[ScoredItem]
    prompts: Sequence[str]
    scores: Sequence[float | None]
    changes: np.ndarray
    lengths: np.ndarray

    def select(self, mask: np.ndarray) -> CompletionChanges:
        """Return the completions where a boolean mask [N] is true."""
        at = np.flatnonzero(mask).tolist()
        items, prompts = [self.items[i] for i in at], [self.prompts[i] for i in at]
        return CompletionChanges(items, prompts, [self.scores[i] for i in at], self.changes[at], self.lengths[at])


def summarise_changes(model: str, goals: str, rows: CompletionChanges, borders: Sequence[float] = ()) -> ModelChange:
    """Summarise changes by side and bucket of scores, with intervals over prompts.

    Args:
        model: name of the checkpoint.
        goals: what its prompts ask for.
        rows: changes of single completions.
        borders: between buckets; none: the quartiles of all scores.
    """
    scores = np.array([np.nan if score is None else score for score in rows.scores], dtype=float)
    scored = scores[~np.isnan(scores)]
    if not borders and scored.size:
        # Quartiles may coincide (stars, ranks); equal borders would make empty buckets.
        borders = sorted(set(np.quantile(scored, [0.25, 0.5, 0.75]).tolist()) - {float(scored.min())})
    buckets = []
    for side in dict.fromkeys(item.side for item in rows.items):
        of_side = np.array([item.side == side for item in rows.items])
        for low, high in pairwise([None, *sorted(borders), None]):
            # NaN compares false, so that completions without a score are in none of these.
            above = scores >= (-np.inf if low is None else low)
            below = scores < (np.inf if high is None else high)
            buckets += _summarise_bucket(side, low, high, rows.select(of_side & above & below))
        buckets += _summarise_bucket(side, None, None, rows.select(of_side & np.isnan(scores)))
    # The margin needs both sides of a pair: change of chosen minus change of rejected.
    change_of = {(item.row, item.side): at for at, item in enumerate(rows.items)}
    pairs = [
        (at, change_of[row, "rejected"])
        for (row, side), at in change_of.items()
        if side == "chosen" and (row, "rejected") in change_of
    ]
    if not pairs:
        return ModelChange(model, goals, tuple(buckets), None, displaced=False)
    best, worst = (rows.changes[list(side)] for side in zip(*pairs, strict=True))
    clusters = [rows.prompts[at] for at, _ in pairs]
    margin, chosen = bootstrap_mean(best - worst, clusters=clusters), bootstrap_mean(best, clusters=clusters)
    return ModelChange(model, goals, tuple(buckets), margin, displaced=margin.low > 0 and chosen.high < 0)


def _summarise_bucket(side: str, low: float | None, high: float | None, rows: CompletionChanges) -> list[BucketChange]:
    """Summarise one bucket; none where it is empty."""
    if not rows.items:
        return []
    # A ratio of sums, not a mean of ratios: in that, short completions would dominate.
    per_token = bootstrap(
        lambda changes, lengths: float(changes.sum() / lengths.sum()),
        rows.changes,
        rows.lengths,
        clusters=rows.prompts,
    )
    change = bootstrap_mean(rows.changes, clusters=rows.prompts)
    return [BucketChange(side, low, high, change, per_token, float((rows.changes < 0).mean()))]
