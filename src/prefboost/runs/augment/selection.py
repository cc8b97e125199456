"""`select` over a stream of batches: limits row by row, duplicates and benchmarks over the whole input."""

from __future__ import annotations

import numpy as np
import polars as pl

from prefboost.preferences.draw import draw_share
from prefboost.preferences.repetition import prefer_given_id
from prefboost.preferences.select import build_question_key, decontaminate, select
from prefboost.runs.augment.settings import Augment
from prefboost.runs.preparation import load_token_counter, read_benchmark_texts
from prefboost.tables import Step, Table, count_reasons, reject_where

__all__ = ["Selection", "find_owners", "hash_rows"]


class Selection:
    """Selection of rows, batch by batch. It keeps 64-bit hashes of all batches so far: eight bytes per row against
    duplicates, sixteen bytes per prompt against a prompt under several ids.

    Args:
        settings: ``select``, ``decontaminate``, ``test_share``, ``seed`` and ``tokenizer`` play a part.

    Raises:
        ModelError: a limit is in tokens, and the tokenizer cannot be loaded.
    """

    def __init__(self, settings: Augment) -> None:
        self.settings = settings
        self.seen = np.empty(0, dtype=np.uint64)
        self.owners = pl.DataFrame(schema={"_prompt": pl.UInt64, "_owner": pl.UInt64})
        self.count_tokens = load_token_counter(settings.select, settings.tokenizer)
        self.texts = read_benchmark_texts(settings)

    @property
    def remembers(self) -> bool:
        """Whether what is kept of a batch depends on the batches before it."""
        return self.settings.select is not None and self.settings.select.dedupe != "none"

    def apply(self, table: Table) -> Table:
        """Select the rows of a batch, and mark prompts drawn for the test split in ``split``."""
        table = self.drop_repeated_prompts(self.limit(table))
        how = self.settings.select
        if self.remembers:
            hashes = hash_rows(table.frame)
            again = pl.Series(np.isin(hashes.to_numpy(), self.seen)) | ~hashes.is_first_distinct()
            self.seen = np.union1d(self.seen, hashes.to_numpy())
            marked = table.frame.with_columns(again.alias("_again"))
            table = _drop_repeated(table, marked, pl.col("_again"), "the same prompt and completions were seen before")
        if self.texts:
            table = decontaminate(table, self.texts, ngram=how.ngram if how is not None else 13)
        return self._split(table) if self.settings.test_share else table

    def limit(self, table: Table) -> Table:
        """Keep the rows within the limits, which each row passes by itself."""
        how = self.settings.select
        if how is None:
            return table
        return select(table, how.model_copy(update={"dedupe": "none"}), count_tokens=self.count_tokens)

    @property
    def owns_prompts(self) -> bool:
        """Whether a prompt belongs to the first id under which it is seen."""
        return self.settings.select is not None and self.settings.select.dedupe == "prompt"

    def drop_repeated_prompts(self, table: Table) -> Table:
        """Drop rows whose prompt was seen before under another id, where prompts are told apart."""
        if not self.owns_prompts:
            return table
        keyed = table.frame.with_columns(**_build_prompt_keys(table.frame))
        self.owners = pl.concat([self.owners, find_owners(table.frame).join(self.owners, on="_prompt", how="anti")])
        owned = keyed.join(self.owners, on="_prompt", how="left", maintain_order="left")
        disowned = pl.col("_id") != pl.col("_owner")
        return _drop_repeated(table, owned, disowned, "the same prompt was seen before under another id")

    def _split(self, table: Table) -> Table:
        """Mark whole prompts by their normalised text, as `prefboost.preferences.select.split` divides."""
        frame = table.frame.with_columns(_key=build_question_key())
        old = pl.col("split").fill_null("train") if "split" in frame.columns else pl.lit("train")
        held = draw_share(self.settings.seed, "_key") < self.settings.test_share
        marked = frame.with_columns(split=pl.when(held).then(pl.lit("test")).otherwise(old)).drop("_key")
        step = Step("split", {"fraction": self.settings.test_share}, len(table), len(table))
        return table.derive(table.spec, marked, step)


def find_owners(frame: pl.DataFrame) -> pl.DataFrame:
    """Find the first id of each prompt, which owns it: hashes, as columns ``_prompt`` and ``_owner``."""
    keyed = frame.select(**_build_prompt_keys(frame))
    return keyed.select("_prompt", _owner="_id").unique("_prompt", keep="first", maintain_order=True)


def hash_rows(frame: pl.DataFrame) -> pl.Series:
    """Hash prompt and completions of each row."""
    sides = [name for name in ("prompt", "completion", "chosen", "rejected") if name in frame.columns]
    return frame.select(pl.struct(sides).hash(0).alias("key"))["key"]


def _build_prompt_keys(frame: pl.DataFrame) -> dict[str, pl.Expr]:
    return {"_prompt": pl.col("prompt").hash(0), "_id": prefer_given_id(frame.columns).hash(0)}


def _drop_repeated(table: Table, frame: pl.DataFrame, repeated: pl.Expr, reason: str) -> Table:
    """Reject the repeated rows of a table's frame, to which columns have been added for that."""
    first, rejects = reject_where(frame, repeated, stage="select", reason=reason, path=table.path)
    step = Step("dedupe", {}, len(table), first.height, count_reasons(rejects))
    return table.derive(table.spec, first.select(table.frame.columns), step, rejects=rejects)
