"""From scored rows to goal pairs: what `augment` does with every batch and recipes do with a whole table.

select -> scale -> keep -> pair -> relabel -> condition
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prefboost.chat import SayGoal, to_record
from prefboost.preferences import FittedScale, PairStrategy, apply_scale, condition, pair, relabel
from prefboost.preferences.score_selection import select_by_score
from prefboost.preferences.select import CountTokens, Select, decontaminate, select
from prefboost.recipes.preparation import Preparation
from prefboost.runs.generate.prompt_files import read_benchmark_prompts
from prefboost.tables import PREFERENCE_PAIRS, SCORED_COMPLETIONS, Table

if TYPE_CHECKING:
    from prefboost.chat.template import Render

__all__ = [
    "Scales",
    "build_renderer",
    "choose_rows",
    "count_tokens_by",
    "load_token_counter",
    "make_goal_pairs",
    "pair_completions",
    "read_benchmark_texts",
    "list_goal_aspects",
]

Scales = Mapping[str, FittedScale]
"""Fitted scale per aspect; "" is the overall score's."""


def choose_rows(table: Table, settings: Preparation, count_tokens: CountTokens | None = None) -> Table:
    """Keep the rows that ``select`` keeps, without those that share words with a benchmark.

    Args:
        table: ScoredCompletions or PreferencePairs, whole: duplicates are told within it.
        settings: ``select`` and ``decontaminate`` play a part.
        count_tokens: counts where a limit is in tokens.

    Raises:
        SettingsError: a limit is in tokens, which nothing counts here.
    """
    if settings.select is not None:
        table = select(table, settings.select, count_tokens=count_tokens)
    if settings.decontaminate:
        table = decontaminate(table, read_benchmark_texts(settings), ngram=(settings.select or Select()).ngram)
    return table


def make_goal_pairs(
    table: Table, settings: Preparation, scales: Scales, say: SayGoal, render: Render | None = None
) -> Table:
    """Scale, keep, pair, relabel and condition. Scores are set right before completions are compared.

    Args:
        table: ScoredCompletions or PreferencePairs, a batch or all of them.
        settings: ``keep``, ``pair`` and ``relabel`` play a part.
        scales: fitted to the whole data set; none keeps the scores.
        say: how goals are said; its place may be auto where there is a template to probe.
        render: the chat template of the model to train.

    Returns:
        GoalPairs with the goal said in their prompts.

    Raises:
        DataError, ModelError: see `pair`, `relabel` and `condition`.
    """
    if scales and table.spec in (SCORED_COMPLETIONS, PREFERENCE_PAIRS):  # else `pair` says what is missing
        table = apply_scale(table, scales)
    if settings.keep is not None:
        table = select_by_score(table, settings.keep)
    table = relabel(pair(table, settings.pair), settings.relabel, say=say)
    return condition(table, say, render=render)


def pair_completions(table: Table, strategy: PairStrategy) -> Table:
    """Pair scored completions; pairs stay as they were read."""
    return pair(table, strategy) if table.spec is SCORED_COMPLETIONS else table


def list_goal_aspects(settings: Preparation) -> tuple[str, ...]:
    """Return the aspects that goals are made of; none where they are overall scores."""
    return tuple(getattr(settings.relabel, "aspects", ()))


def read_benchmark_texts(settings: Preparation) -> list[str]:
    """Read the prompts that no row may share ``select.ngram`` words with."""
    return [text for path in settings.decontaminate for text in read_benchmark_prompts(path)]


def build_renderer(tokenizer: Any) -> Render:
    """Wrap a tokenizer's chat template as a function; a template that asks for a goal by itself is kept silent."""

    def render(messages: Sequence[Mapping[str, Any]]) -> str:
        text: str = tokenizer.apply_chat_template([to_record(each) for each in messages], tokenize=False, goal=False)
        return text

    return render


def count_tokens_by(tokenizer: Any) -> CountTokens:
    """Count by a loaded tokenizer: the texts alone, without the marks that a chat template puts around them."""
    return lambda texts: [len(ids) for ids in tokenizer(list(texts), add_special_tokens=False)["input_ids"]]


def load_token_counter(select: Select | None, tokenizer: str | None) -> CountTokens | None:
    """Count by the tokenizer of a model; it is loaded only where a limit is in tokens and a model is named.

    Raises:
        ModelError: the tokenizer cannot be loaded.
    """
    if select is None or not select.counts_tokens or tokenizer is None:
        return None
    from prefboost.engines.models.weights import load_tokenizer

    return count_tokens_by(load_tokenizer(tokenizer))
