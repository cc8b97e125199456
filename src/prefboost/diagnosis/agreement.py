"""Agreement of a policy with held-out scores, without a judge: does its training prefer what was scored higher?

The implicit reward of a completion is its log-ratio to the start model (arXiv 2305.18290, eq. 5, over beta). On scored
completions that were not trained on it gives two measures: how often it orders two completions of a prompt as their
scores do, under both goals where the policy asks for goals (goal g is nearer to the one whose score it is), and its
rank correlation with the score, also at equal length.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from pydantic import Field

from prefboost.diagnosis.log_ratios import (
    ComparePolicies,
    PolicyReader,
    compute_policy_ratios,
    open_policy_reader,
)
from prefboost.errors import DataError, Place
from prefboost.preferences.draw import draw_rank
from prefboost.preferences.select import prompt_text
from prefboost.scoring.sequence_logps import Encoded
from prefboost.scoring.sides import ScoredItem, Scores, list_scored_items, read_item_scores
from prefboost.statistics import Interval, bootstrap_mean
from prefboost.statistics.json_form import replace_nan
from prefboost.statistics.within_ranks import PooledRanks, correlate_ranks_within
from prefboost.tables import Table

if TYPE_CHECKING:
    from prefboost.engines.call_session import CallSession

__all__ = [
    "AgreementReport",
    "AgreementSlice",
    "DiagnoseAgreement",
    "ModelAgreement",
    "TrainedOn",
    "correlate_rewards",
    "measure_agreement_with_scores",
]

_SEED = 20241009
"""Of the draw of pairs: a constant, so that every policy gets the same ones."""


class DiagnoseAgreement(ComparePolicies):
    """Settings of `measure_agreement_with_scores`."""

    goal: float | None = Field(
        None,
        description="Score that policies are asked for, whose template asks for one, where completions are ranked; "
        "none: the highest of the file.",
    )
    pairs: int = Field(4, ge=1, description="Most pairs of a prompt that are ordered; those of equal scores are none.")
    most_prompts: int | None = Field(None, ge=1, description="Most prompts that are measured, drawn by their id.")
    train: str | None = Field(
        None,
        description="The scored file that the policies were trained on: unseen prompts, and unseen prompts answered by "
        "models that it does not name, are measured by themselves.",
    )


@dataclass(frozen=True)
class TrainedOn:
    """The rows that a policy was trained on, as far as they tell held-out ones apart.

    Args:
        prompts: texts of their prompts; ids of two files need not agree.
        writers: models that wrote their completions.
    """

    prompts: Collection[str]
    writers: Collection[str]

    @classmethod
    def of_table(cls, table: Table) -> TrainedOn:
        """List the prompts and writers of a table."""
        writers = set(table.frame["model"].drop_nulls()) if "model" in table.frame.columns else set()
        return cls(set(table.frame.select(text=prompt_text())["text"]), writers)


@dataclass(frozen=True)
class AgreementSlice:
    """Measures on some of the completions; intervals over prompts.

    Args:
        name: all completions, unseen prompts, or unseen prompts and writers.
        completions: that are ranked.
        rank_correlation: of implicit reward and score, within prompts; None where nothing is ranked.
        at_equal_length: the same with length removed: partial rank correlation given the tokens of a completion.
        pair_accuracy: share of pairs ordered as scored, under the higher score as goal for a policy that asks.
        goal_accuracy: share of goal pairs, both goals of every pair, whose winner is preferred; None where none asks.
    """

    name: str
    completions: int
    rank_correlation: Interval | None
    at_equal_length: Interval | None
    pair_accuracy: Interval | None
    goal_accuracy: Interval | None

    def lines(self) -> Iterator[str]:
        """Yield the slice, line by line."""
        yield f"  {self.name} ({self.completions:,} completions)"
        for name, value, signed in (
            ("rank correlation with the score", self.rank_correlation, True),
            ("at equal length", self.at_equal_length, True),
            ("pairs ordered as scored", self.pair_accuracy, False),
            ("goal pairs, both goals", self.goal_accuracy, False),
        ):
            if value is not None:
                yield f"    {name:<31}  {value.format(signed=signed)}"


@dataclass(frozen=True)
class ModelAgreement:
    """Agreement of one policy.

    Args:
        model: its name.
        asks: whether its prompts name goals.
        slices: all completions, and those that its training shares less with.
    """

    model: str
    asks: bool
    slices: tuple[AgreementSlice, ...]


@dataclass(frozen=True)
class AgreementReport:
    """Report of `measure_agreement_with_scores`.

    Args:
        start: the model that the training began with.
        models: one entry per policy, in the order given.
        prompts: that are measured.
        rejected: reason -> completions that are left out.
    """

    start: str
    models: tuple[ModelAgreement, ...]
    prompts: int
    rejected: Mapping[str, int]

    def record(self) -> dict[str, Any]:
        """Return the JSON form; unknown ends of intervals are null."""
        values: dict[str, Any] = replace_nan(asdict(self))
        return values

    def lines(self) -> Iterator[str]:
        """Yield the printed report, line by line."""
        yield f"implicit reward against {self.start} and held-out scores; {self.prompts:,} prompts, 95 % intervals"
        for model in self.models:
            yield f"{model.model} ({'asked for goals' if model.asks else 'no goals'})"
            for each in model.slices:
                yield from each.lines()
        for reason, count in self.rejected.items():
            yield f"{count:,} left out: {reason}"


def measure_agreement_with_scores(
    table: Table, settings: DiagnoseAgreement, session: CallSession, trained_on: TrainedOn | None = None
) -> AgreementReport:
    """Measure how well the implicit rewards of policies agree with the scores of completions.

    Args:
        table: ScoredCompletions, or PreferencePairs with scores, on the scale that the policies were trained with.
        settings: models, pairs.
        session: store and progress.
        trained_on: what the policies were trained on; None: nothing of the table is known to be unseen.

    Raises:
        DataError: no prompt has two completions of different scores that the models can read.
        ModelError: a model cannot be loaded, or the models have different tokens.
    """
    rows, faults = _read_rows(table, settings), Scores()
    goal = float(max(rows.scores)) if settings.goal is None else settings.goal
    requests: dict[str, list[_Asked]] = {}
    texts: dict[str, list[Encoded]] = {}
    top: dict[str, float | None] = {}
    for name in settings.models:
        reader = open_policy_reader(name, settings.start_model, settings.max_length)
        top[name] = goal if reader.asks else None
        encoded = _encode(rows, rows.list_asked(top[name]), reader, faults)
        requests[name], texts[name] = list(encoded), list(encoded.values())
    models, by_slice = [], rows.list_slices(trained_on)
    for name, ratios in compute_policy_ratios(settings.start_model, texts, session).items():
        rewards = dict(zip(requests[name], ratios.tolist(), strict=True))
        lengths = {at: len(ids) for (at, _), (_, ids) in zip(requests[name], texts[name], strict=True)}
        slices = [
            _measure_slice(label, rows, chosen, rewards, lengths, top[name]) for label, chosen in by_slice.items()
        ]
        models.append(ModelAgreement(name, top[name] is not None, tuple(filter(None, slices))))
    rejected = Counter(reason for reason, _ in faults.faults.values())
    return AgreementReport(settings.start, tuple(models), len(set(rows.prompts)), dict(rejected))


def correlate_rewards(
    rewards: Sequence[float], scores: Sequence[float], lengths: Sequence[float], prompts: Sequence[str]
) -> tuple[PooledRanks, PooledRanks]:
    """Correlate the ranks of implicit rewards and scores within prompts, raw and at equal length.

    Args:
        rewards: N log-ratios in nats.
        scores: N scores.
        lengths: N lengths in tokens.
        prompts: N prompt ids.
    """
    return (
        correlate_ranks_within(rewards, scores, prompts),
        correlate_ranks_within(rewards, scores, prompts, control=lengths),
    )


_Asked = tuple[int, float | None]
"""Number of a completion, and the goal that its prompt asks for; None asks for none."""


@dataclass(frozen=True)
class _Rows:
    """N different scored completions, and pairs of them.

    Args:
        items: the completions.
        scores, prompts: of each.
        texts: of the prompt of each.
        writers: model that wrote each; None where the file does not say.
        pairs: numbers of two completions of a prompt, the one with the higher score first.
    """

    items: Sequence[ScoredItem]
    scores: Sequence[float]
    prompts: Sequence[str]
    texts: Sequence[str]
    writers: Sequence[str | None]
    pairs: Sequence[tuple[int, int]]

    def list_asked(self, top: float | None) -> list[_Asked]:
        """List each completion with each goal under which it is measured, once."""
        requests: list[_Asked] = [(at, top) for at in range(len(self.items))]
        if top is not None:
            requests += [(at, self.scores[goal]) for pair in self.pairs for goal in pair for at in pair]
        return list(dict.fromkeys(requests))

    def list_slices(self, trained_on: TrainedOn | None) -> dict[str, set[int]]:
        """List the completions of every slice by its name."""
        slices = {"all completions": set(range(len(self.items)))}
        if trained_on is not None:
            prompts, writers = set(trained_on.prompts), set(trained_on.writers)
            unseen = slices["unseen prompts"] = {at for at, each in enumerate(self.texts) if each not in prompts}
            strangers = {at for at in unseen if self.writers[at] is not None and self.writers[at] not in writers}
            slices["unseen prompts and writers"] = strangers
        return {name: chosen for name, chosen in slices.items() if chosen}


def _read_rows(table: Table, settings: DiagnoseAgreement) -> _Rows:
    """Read the scored completions of a table, equal ones of a prompt once, and draw pairs of them."""
    frame = table.frame
    prompts = (
        frame.select("prompt_id").unique().sort(draw_rank(_SEED, "prompt_id")).head(settings.most_prompts or len(table))
    )
    measured = set(prompts["prompt_id"])
    items, texts = list_scored_items(table), frame.select(text=prompt_text())["text"]
    rows: dict[tuple[str, str], tuple[ScoredItem, float, str, str | None]] = {}
    for item, score in zip(items, read_item_scores(table, items), strict=True):
        prompt = frame["prompt_id"][item.row]
        if score is not None and prompt in measured:
            writer = frame["model"][item.row] if "model" in frame.columns else None
            # Pairs of a prompt share completions, and a completion is ranked once.
            rows.setdefault((prompt, str(item.completion)), (item, float(score), texts[item.row], writer))
    numbered = pl.DataFrame(
        {
            "at": range(len(rows)),
            "prompt": [prompt for prompt, _ in rows],
            "score": [score for _, score, *_ in rows.values()],
        },
        schema={"at": pl.Int64, "prompt": pl.String, "score": pl.Float64},
    )
    both = numbered.join(numbered, on="prompt", suffix="_other").filter(pl.col("score") > pl.col("score_other"))
    drawn = both.sort("prompt", draw_rank(_SEED, "at", "at_other")).group_by("prompt", maintain_order=True)
    pairs = drawn.head(settings.pairs).select("at", "at_other").rows()
    if not pairs:
        raise DataError(
            "no prompt has two completions of different scores",
            remedy="give scored completions, several of a prompt",
            place=Place(path=table.path),
        )
    different, scores, prompt_texts, writers = zip(*rows.values(), strict=True)
    return _Rows(different, scores, [prompt for prompt, _ in rows], prompt_texts, writers, pairs)


def _encode(rows: _Rows, requests: Sequence[_Asked], reader: PolicyReader, faults: Scores) -> dict[_Asked, Encoded]:
    """Encode completions under goals; what is too long under one goal is left out under that one."""
    # Numbered anew: one completion stands here once for every goal.
    copies = [replace(rows.items[at], row=number) for number, (at, _) in enumerate(requests)]
    missing = Scores()
    encoded = reader.encode(copies, missing, lambda item: requests[item.row][1])
    for (number, _), fault in missing.faults.items():
        item = rows.items[requests[number][0]]
        faults.faults[item.row, item.side] = fault
    return {requests[number]: ids for (number, _), ids in encoded.items()}


def _measure_slice(
    name: str,
    rows: _Rows,
    chosen: set[int],
    rewards: Mapping[_Asked, float],
    lengths: Mapping[int, int],
    top: float | None,
) -> AgreementSlice | None:
    """Measure the completions of a slice; None where none of them could be read."""
    ranked = [at for at in sorted(chosen) if (at, top) in rewards]
    if not ranked:
        return None
    correlations = correlate_rewards(
        [rewards[at, top] for at in ranked],
        [rows.scores[at] for at in ranked],
        [lengths[at] for at in ranked],
        [rows.prompts[at] for at in ranked],
    )
    right: list[tuple[str, float]] = []
    both: list[tuple[str, float]] = []
    for better, worse in rows.pairs:
        goals = (top, top) if top is None else (rows.scores[better], rows.scores[worse])
        keys = [(at, goal) for goal in goals for at in (better, worse)]
        if not chosen >= {better, worse} or any(key not in rewards for key in keys):
            continue
        # Nearer to the higher score is the better completion, nearer to the lower one the worse.
        high, low = (rewards[better, goal] - rewards[worse, goal] for goal in goals)
        # A tie, as where the policy is the start model, is half right.
        right.append((rows.prompts[better], (1 + float(np.sign(high))) / 2))
        both += [(rows.prompts[better], (1 + float(np.sign(margin))) / 2) for margin in (high, -low)]
    intervals = [
        bootstrap_mean(list(each.by_group.values()), clusters=list(each.by_group)) if each.by_group else None
        for each in correlations
    ]
    accuracies = [
        bootstrap_mean([value for _, value in each], clusters=[prompt for prompt, _ in each]) if each else None
        for each in (right, both if top is not None else [])
    ]
    return AgreementSlice(name, len(ranked), *intervals, *accuracies)
