"""`mix`: real and synthetic pairs as one training set, of a given size and in given shares."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

import polars as pl
from pydantic import Field

from prefboost.errors import DataError, Place
from prefboost.preferences.draw import draw_rank
from prefboost.preferences.gather import gather_frame
from prefboost.preferences.likeness import build_question_key
from prefboost.settings import Settings
from prefboost.tables import EVALUATION_SPLITS, PREFERENCE_PAIRS, Step, Table, refuse_other_tables

__all__ = ["Mix", "Part", "mix"]


class Part(Settings):
    """One file of pairs in a mixture."""

    data: str = Field(description="Preference pairs: a file, folder or hub id.")
    share: float = Field(1.0, ge=0, description="Share of the training pairs, relative to the other parts' shares.")
    weight: float = Field(1.0, ge=0, description="Weight of each of its pairs in the loss, times the pair's own.")


class Mix(Settings):
    """Several files of pairs as one, without a pair twice, and without a prompt on both sides of the split."""

    parts: dict[str, Part] = Field(min_length=1, description="Name to file, share and weight.")
    size: int | None = Field(
        None,
        ge=1,
        description="Training pairs in all, so that mixtures can be compared; none: as many as shares allow.",
    )
    seed: int = Field(0, description="Seed of the draw; smaller mixtures are parts of larger ones.")


def mix(tables: Mapping[str, Table], settings: Mix, *, evaluated: Table | None = None) -> Table:
    """Draw from several tables of pairs.

    Args:
        tables: part's name -> PreferencePairs. Rows whose split is validation or test are all kept, for evaluation.
        settings: shares, weights and size.
        evaluated: further rows whose prompts are not to be trained on.

    Returns:
        PreferencePairs whose ``source`` names the part, with ``pair_weight``. Prompts that differ in case, punctuation
        or system message alone have one ``prompt_id``. Pairs that stand twice, and training pairs whose prompt is
        evaluated on, are rejects.

    Raises:
        DataError: a part is no table of pairs, or has fewer pairs than its share of ``size``.
    """
    frames = []
    for name, part in settings.parts.items():
        task = f"the part {name} of a mixture"
        refuse_other_tables(tables[name], PREFERENCE_PAIRS, task=task, remedy="pair its completions first")
        frame = tables[name].frame
        for column, kind in (("split", pl.String), ("pair_weight", pl.Float64)):
            if column not in frame.columns:
                frame = frame.with_columns(pl.lit(None, dtype=kind).alias(column))
        pair_id, weight = pl.concat_str(pl.lit(f"{name}/"), "pair_id"), pl.col("pair_weight").fill_null(1.0)
        frames.append(frame.with_columns(pair_id=pair_id, source=pl.lit(name), pair_weight=weight * part.weight))
    frame = pl.concat(frames, how="diagonal_relaxed")
    questions = None if evaluated is None else evaluated.frame.select(build_question_key())["prompt"]
    frame, rejects = gather_frame(frame, stage="mix", questions=questions)
    evaluation = pl.col("split").is_in(EVALUATION_SPLITS).fill_null(False)
    counts = _count_part_pairs(frame.filter(~evaluation), settings)
    # The rank does not depend on the counts, so a smaller mixture is a part of a larger one.
    order = draw_rank(settings.seed, "pair_id").rank("ordinal").over("source")
    drawn = pl.lit(False)
    for name, count in counts.items():
        drawn = drawn | ((pl.col("source") == name) & (order <= count))
    train = frame.filter(~evaluation).filter(drawn)
    mixture = pl.concat([train, frame.filter(evaluation)]).with_columns(row=pl.int_range(pl.len(), dtype=pl.Int64))
    step = Step(
        "mix",
        settings.model_dump(mode="json"),
        rows_in=sum(map(len, tables.values())),
        rows_out=mixture.height,
        rejected=dict(Counter(rejects["reason"].to_list())),
        notes={"training pairs": counts, "evaluation pairs": mixture.height - train.height},
    )
    first = next(iter(tables.values()))
    return Table(first.spec, first.frame.clear()).derive(PREFERENCE_PAIRS, mixture, step, rejects=rejects)


def _count_part_pairs(train: pl.DataFrame, settings: Mix) -> dict[str, int]:
    """Count the training pairs to draw from every part."""
    there = dict(train["source"].value_counts().iter_rows())
    total = math.fsum(part.share for part in settings.parts.values())
    shares = {name: part.share / total if total else 0.0 for name, part in settings.parts.items()}
    size = settings.size
    if size is None:
        size = min(
            (math.floor(there.get(name, 0) / share + 1e-9) for name, share in shares.items() if share), default=0
        )
    # Whole numbers nearest to the shares, by largest remainders; 1e-9, since 0.29 * 100 is 28.999... in floating point.
    counts = {name: math.floor(share * size + 1e-9) for name, share in shares.items()}
    by_remainder = sorted(shares, key=lambda name: counts[name] - shares[name] * size)
    left = size - sum(counts.values()) if any(shares.values()) else 0
    for name in by_remainder[:left]:
        counts[name] += 1
    for name, count in counts.items():
        if count > there.get(name, 0):
            raise DataError(
                f"the part {name} has {there.get(name, 0):,} pairs to train on, but its share of {size:,} is {count:,}",
                remedy="set size or its share lower, or leave size out",
                place=Place(path=settings.parts[name].data),
            )
    return counts
