"""Prompts that stand inside both sides of a pair: the longest common prefix of two conversations."""

from __future__ import annotations

import polars as pl

from prefboost.sources.messages.keys import drop_notes
from prefboost.tables import MESSAGES

__all__ = ["split_prompts"]


def split_prompts(prompts: pl.Series, chosen: pl.Series, rejected: pl.Series) -> tuple[pl.DataFrame, pl.Series]:
    """Take the prompt out of sides that hold whole conversations.

    Args:
        prompts: explicit prompts, null where there are none; they stay where both sides begin with an assistant turn,
            and where they end with the prompt that both sides share: they have a system message or earlier turns more.
        chosen, rejected: messages.

    Returns:
        columns prompt, chosen, rejected; and where the prompt was taken out of the sides. The prompt is the longest
        common prefix of both that ends with a user or tool turn; null where the sides begin differently.
    """
    frame = _complete_sides(pl.DataFrame({"prompt": prompts, "chosen": chosen, "rejected": rejected}))
    roles = [pl.col(side).list.first().struct.field("role") for side in ("chosen", "rejected")]
    whole = frame.select(pl.any_horizontal([(role != "assistant").fill_null(False) for role in roles])).to_series()
    if not whole.any():
        return frame, whole
    heads = {side: pl.col(side).list.slice(0, pl.col(side).list.len() - 1) for side in ("chosen", "rejected")}
    asks = heads["chosen"].list.last().struct.field("role").is_in(["user", "tool"])
    answers = [pl.col(side).list.last().struct.field("role") == "assistant" for side in ("chosen", "rejected")]
    bare = pl.DataFrame({side: drop_notes(frame[side]) for side in ("chosen", "rejected")})
    before = [pl.col(side).list.slice(0, pl.col(side).list.len() - 1) for side in bare.columns]
    same = bare.select(same=before[0] == before[1]).to_series()
    simple = (
        frame.with_columns(same)
        .select(
            (pl.col("chosen").list.len() == pl.col("rejected").list.len())
            & (pl.col("chosen").list.len() > 1)
            & pl.col("same")
            & pl.all_horizontal(asks, *answers)
        )
        .to_series()
    )
    # Nearly all pairs differ in their last message alone; only the others are compared one by one.
    easy = whole & simple.fill_null(False)
    split = frame.select(
        prompt=pl.when(easy).then(heads["chosen"]).otherwise("prompt"),
        chosen=pl.when(easy).then(pl.col("chosen").list.tail(1)).otherwise("chosen"),
        rejected=pl.when(easy).then(pl.col("rejected").list.tail(1)).otherwise("rejected"),
    )
    hard = whole & ~easy
    split = _split_each(split, hard) if hard.any() else split
    if prompts.null_count() == prompts.len():
        return split, whole
    both = split.with_columns(prompts.alias("explicit"))
    extends = pl.col("explicit").list.len() > pl.col("prompt").list.len()
    alike = pl.col("explicit").list.tail(pl.col("prompt").list.len()) == pl.col("prompt")
    fuller = pl.when((extends & alike).fill_null(False)).then("explicit").otherwise("prompt")
    return both.with_columns(fuller.alias("prompt")).drop("explicit"), whole


def _complete_sides(frame: pl.DataFrame) -> pl.DataFrame:
    """Complete pairs without a prompt of which one side is a whole conversation and the other only the last answer.

    ms-swift writes them so (``messages`` and ``rejected_response``): the answer stands in the other's conversation.
    """
    for whole, short in (("chosen", "rejected"), ("rejected", "chosen")):
        first = {side: pl.col(side).list.first().struct.field("role") for side in (whole, short)}
        last = pl.col(whole).list.last().struct.field("role")
        odd = pl.col("prompt").is_null() & (first[whole] != "assistant") & (last == "assistant")
        odd &= (first[short] == "assistant") & (pl.col(short).list.len() == 1)
        hit = frame.select(odd.fill_null(False)).to_series()
        if hit.any():
            before = pl.col(whole).list.slice(0, pl.col(whole).list.len() - 1)
            filled = pl.when(hit).then(pl.concat_list(before, short)).otherwise(short)
            frame = frame.with_columns(filled.alias(short))
    return frame


def _split_each(frame: pl.DataFrame, hard: pl.Series) -> pl.DataFrame:
    rows = frame.filter(hard)
    bare = zip(*(drop_notes(rows[side]).to_list() for side in ("chosen", "rejected")), strict=True)
    split = []
    for chosen, rejected, sides in zip(rows["chosen"].to_list(), rows["rejected"].to_list(), bare, strict=True):
        # Without one of the sides there are no pairs of messages, and nothing is cut off.
        same = [first == second for first, second in zip(*(side or () for side in sides), strict=False)]
        length = same.index(False) if False in same else len(same)
        while length and chosen[length - 1]["role"] not in ("user", "tool"):
            length -= 1
        split.append((chosen[:length] if length else None, *(side and side[length:] for side in (chosen, rejected))))
    index = (hard.cast(pl.Int64).cum_sum() - 1).clip(lower_bound=0)
    columns = {}
    for place, name in enumerate(("prompt", "chosen", "rejected")):
        replaced = pl.Series(name, [parts[place] for parts in split], dtype=MESSAGES).gather(index)
        both = pl.DataFrame({"hard": hard, "old": frame[name], "new": replaced})
        columns[name] = both.select(pl.when("hard").then("new").otherwise("old")).to_series()
    return pl.DataFrame(columns)
