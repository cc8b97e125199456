"""The settings of `augment`, and what it reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pydantic import Field, field_validator

from prefboost.preferences.select import Select
from prefboost.recipes.preparation import Preparation
from prefboost.sources import Columns
from prefboost.sources.writers.exports import EXPORTS, WITHDRAWN

__all__ = ["Augment", "AugmentReport", "Reject"]

Format = Literal[
    "prefboost", "trl", "llamafactory", "axolotl", "openrlhf", "ms-swift", "nemo-rl", "tinker", "open-instruct"
]


class Augment(Preparation):
    """Settings of `augment`: from scored preference data to goal-conditioned pairs, in the shape of a trainer."""

    columns: Columns = Field(Columns(), description="Columns named by the user; what is not named is guessed.")
    select: Select | None = Field(None, description="Limits that rows pass before they are paired; none keeps all.")
    test_share: float = Field(
        0.0, ge=0, lt=1, description="Share of the prompts, whole ones, that goes to a test split; folders only."
    )
    seed: int = Field(42, ge=0, description="Seed of the draw of test prompts.")
    format: Format = Field("prefboost", description="Format of the rows: prefboost's own or a trainer's.")
    file_type: Literal["parquet", "jsonl", "jsonl.gz", "jsonl.zst"] | None = Field(
        None, description="Type of the files in an output folder; none is parquet. A single file's name says its own."
    )
    tokenizer: str | None = Field(
        None,
        description="Hub id or folder of the model to train: its chat template decides place auto, its tokens are "
        "what limits in tokens count.",
    )
    batch_rows: int | None = Field(
        None, ge=1, description="Records a part, about; none makes parts of about 64 MB, which bounds the memory."
    )

    @field_validator("format", mode="before")
    @classmethod
    def _refuse_withdrawn(cls, value: Any) -> Any:
        if isinstance(value, str) and value in WITHDRAWN:
            raise ValueError(f"{WITHDRAWN[value]}; write one of: {', '.join(EXPORTS)}")
        return value


@dataclass(frozen=True)
class Reject:
    """Count of the rows that one verb rejected for one reason."""

    stage: str
    reason: str
    count: int


@dataclass(frozen=True)
class AugmentReport:
    """Report of `augment`; everything down to ``findings`` is the same however often it was interrupted.

    ``rejects`` could not be used and are kept in a file; ``left_out`` is what the settings do not ask for; ``findings``
    are known faults of rows that were used: name, how many, and what to do.
    """

    out: str
    format: str
    records: int
    pairs: int
    goal_pairs: int
    splits: Mapping[str, int]
    rejects: tuple[Reject, ...]
    left_out: tuple[Reject, ...]
    scale: str
    place: str
    place_because: str
    guess: Mapping[str, Any]
    rejects_path: str | None
    command: str
    findings: tuple[str, ...] = ()
    seconds: float = 0.0
    parts: int = 0
    parts_found: int = 0
    skipped: bool = False
    messages: tuple[str, ...] = field(default=())
    address: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return asdict(self)
