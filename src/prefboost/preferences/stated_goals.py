"""The record of how goals stand in the prompts of a data set; it travels from `condition` to the checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prefboost.chat import SayGoal
from prefboost.chat.template import Render
from prefboost.preferences.condition import fit_wording_to_scales, resolve_place
from prefboost.preferences.scales.kinds import FittedScale
from prefboost.tables import Table

__all__ = ["StatedGoals"]


@dataclass(frozen=True)
class StatedGoals:
    """Wording, place and scales of the goals in the prompts of a data set.

    Args:
        say: wording, number format, ends of the scale, and the place: system, user or after, never auto.
        scales: fitted scale per aspect; "" is the overall score's.
        because: why the goal stands in that place.
    """

    say: SayGoal
    scales: Mapping[str, FittedScale] = field(default_factory=dict)
    because: str = ""

    @classmethod
    def settle(
        cls,
        say: SayGoal,
        scales: Mapping[str, FittedScale],
        aspects: Sequence[str] = (),
        render: Render | None = None,
    ) -> StatedGoals:
        """Choose place, decimals and ends of the scale before any goal is said.

        Args:
            say: as set; its place may be auto.
            scales: fitted scale per aspect.
            aspects: those that goals are made of.
            render: the chat template of the model to train, probed for where a goal can stand.

        Raises:
            ModelError: see `resolve_place`.
        """
        say = fit_wording_to_scales(say, scales, aspects)
        place, because = resolve_place(say, render)
        return cls(say.model_copy(update={"place": place}), scales, because)

    @classmethod
    def of_table(cls, table: Table) -> StatedGoals | None:
        """Return what `condition` wrote into the history of a table; None where it never ran."""
        step = next((step for step in reversed(table.steps) if step.verb == "condition"), None)
        if step is None:
            return None
        return cls(SayGoal.model_validate(dict(step.settings)), table.scales, str(step.notes.get("because", "")))

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> StatedGoals:
        """Restore the record that `record` returned."""
        scales = {name: FittedScale(**scale) for name, scale in record["scales"].items()}
        return cls(SayGoal(**record["say"]), scales, record["because"])

    def record(self) -> dict[str, Any]:
        """Return JSON values: ``scales``, ``say``, ``because``."""
        scales = {name: scale.model_dump(mode="json") for name, scale in self.scales.items()}
        return {"scales": scales, "say": self.say.model_dump(mode="json"), "because": self.because}
