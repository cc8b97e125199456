"""Goal pairs to units that can be trained on: tokens, what is evaluated, how steps are laid out."""

from __future__ import annotations

import os

import pyarrow as pa
import pyarrow.compute as pc

from prefboost.chat import SayGoal
from prefboost.chat.rendering import ChatEncoder
from prefboost.devices.launch import read_world_size
from prefboost.errors import MissingScores, SettingsError
from prefboost.settings import kind_of
from prefboost.training.data.questions import settle_prompt_ids
from prefboost.training.data.units import Data, Plan, lay_out_units
from prefboost.training.policy.settings import Train
from prefboost.training.policy.tokenise import Tokenised, TokenLimits, tokenise

__all__ = ["plan_units", "tokenise_all"]


def tokenise_all(
    pairs: pa.Table,
    eval_pairs: pa.Table | None,
    settings: Train,
    encoder: ChatEncoder,
    say: SayGoal | None,
    positions: int | None = None,
) -> tuple[Tokenised, Tokenised | None]:
    """Tokenise the rows to train on, and those to evaluate on where they are given apart.

    Args:
        pairs: GoalPairs after `condition`.
        eval_pairs: to evaluate on; None: `plan_units` takes those of ``settings.eval_fraction`` of the prompts, told by
            their content.
        settings: of the training.
        encoder: of the model.
        say: how goals are said.
        positions: most tokens that the model was made for; None: no limit is known.

    Raises:
        MissingScores: the loss needs scores and there are none.
        DataError: a column is missing.
    """
    if getattr(settings.loss, "needs_scores", False) and (
        "score_chosen" not in pairs.column_names or pairs["score_chosen"].null_count == pairs.num_rows
    ):
        raise MissingScores(
            f"the loss {kind_of(settings.loss)!r} uses scores and the pairs have none",
            remedy="score the completions first, or use a loss that needs none: dpo, ipo, simpo",
        )
    limits = TokenLimits(
        settings.max_length, settings.max_prompt_length, settings.cut_completions == "ended", positions
    )
    by_unit = settings.order == "units"
    if eval_pairs is None and settings.eval_fraction:
        # Rows of one question under several ids would be on both sides of the split.
        pairs = settle_prompt_ids(pairs, say)
    trained = tokenise(pairs, encoder, limits, say=say, by_unit=by_unit)
    evaluated = None if eval_pairs is None else tokenise(eval_pairs, encoder, limits, say=say, by_unit=by_unit)
    return trained, evaluated


def plan_units(trained: Tokenised, evaluated: Tokenised | None, settings: Train) -> tuple[Data, Plan]:
    """Set the evaluation units aside, and lay out the steps.

    Args:
        trained, evaluated: of `tokenise_all`.
        settings: of the training.

    Raises:
        DataError: no unit is left.
        SettingsError: the loss needs the whole batch, and the engine has it in parts.
    """
    trained.refuse_empty()
    devices = read_world_size(os.environ)
    # The packed engine draws the whole batch and cuts it by tokens; only padding needs micro-batches of units.
    at_once = settings.engine == "packed" or settings.loss.whole_batch
    if settings.loss.whole_batch and devices > 1 and settings.engine != "packed":
        raise SettingsError(
            f"the loss {kind_of(settings.loss)!r} needs the whole batch, but train.engine: {settings.engine} has only "
            f"parts of it on {devices} devices",
            remedy="write train.engine: packed, use one device, or another loss",
        )
    return lay_out_units(
        trained.units,
        None if evaluated is None else evaluated.units,
        settings,
        lambda units: pc.sum(pc.list_value_length(units["view"])).as_py() or 0,
        settings.batch_size if at_once else settings.micro_batch,
    )
