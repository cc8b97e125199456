"""The settings of `select`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from prefboost.preferences.score_selection import SELECT_STRATEGIES, SelectStrategy
from prefboost.preferences.select import Select
from prefboost.settings import Settings, choice
from prefboost.sources import Columns

__all__ = ["SelectCompletions"]


class SelectCompletions(Settings):
    """Settings of `select`: which completions are kept, and the shape in which they are written."""

    strategy: Annotated[SelectStrategy, choice(SELECT_STRATEGIES)] = Field(
        description="Choice of a prompt's completions by their scores."
    )
    select: Select | None = Field(None, description="Limits that a completion passes before scores are compared.")
    cut: Literal["drop", "keep"] = Field(
        "drop",
        description="Completions that generation cut at the token limit: rejected before scores are compared (a "
        "trainer would teach an end of turn there), or kept.",
    )
    format: Literal["trl", "prefboost"] = Field(
        "trl", description="trl: prompt and completion as lists of messages, for SFTTrainer; prefboost: every column."
    )
    file_type: Literal["parquet", "jsonl", "jsonl.gz", "jsonl.zst"] | None = Field(
        None, description="Type of the files in an output folder; none is parquet. A single file's name says its own."
    )
    file_records: int = Field(
        50_000, ge=1, description="Records of the input whose rows one file of an output folder holds."
    )
    columns: Columns = Field(Columns(), description="Columns of the file, where they are not guessed right.")
