"""The recipe of reward models: mixtures of files of pairs at equal size, a model on each, how often each is right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from prefboost.evaluation.reward_models.accuracy import RewardAccuracy
from prefboost.preferences import PAIR_STRATEGIES, AllPairs, PairStrategy
from prefboost.preferences.mix import Mix, Part
from prefboost.recipes.recipe import Named, OnExecutor
from prefboost.settings import choice
from prefboost.sources import Columns
from prefboost.training import TrainReward

__all__ = ["RewardModels"]


class _Parts(Named):
    """Beginning of a recipe of reward models, after its name."""

    kind: Literal["reward"] = Field("reward", description="Reward models on mixtures of files of pairs.")
    parts: dict[str, Part] = Field(
        min_length=1,
        description="Name to file of pairs (or scored completions), share and weight.",
        json_schema_extra=lambda schema: schema.update(
            additionalProperties={"anyOf": [{"type": "string"}, schema["additionalProperties"]]}
        ),
    )


class RewardModels(OnExecutor, _Parts):
    """Mixtures of files of pairs, at equal size; a reward model on each; the accuracy of each on the same pairs."""

    mixtures: dict[str, dict[str, float]] = Field(
        default_factory=dict,
        description="Model's name to shares of parts; none: every part alone, and all together by their shares (with "
        "parts real and synthetic: real, synthetic, real+synthetic).",
    )
    size: int | None = Field(
        None, ge=1, description="Training pairs of every mixture; none: the most that all mixtures can have."
    )
    test: str | None = Field(
        None,
        description="Pairs that every model is measured on, whose prompts are not trained on: a file, folder or hub "
        "id; none: the rows of the parts whose split is validation or test.",
    )
    columns: Columns = Field(Columns(), description="Columns of the files, where they are not guessed right.")
    pair: Annotated[PairStrategy, choice(PAIR_STRATEGIES)] = Field(
        AllPairs(), description="Pairs to make of a prompt's completions, where a part holds scored completions."
    )
    seed: int = Field(0, description="Seed of the draw of pairs; smaller mixtures are parts of larger ones.")
    train: TrainReward = Field(description="Training of every reward model.")
    accuracy: RewardAccuracy = Field(RewardAccuracy(), description="Report of the accuracy of each.")

    @field_validator("parts", mode="before")
    @classmethod
    def _path_is_a_part(cls, parts: Any) -> Any:
        """Expand ``real: pairs.jsonl`` to ``real: {data: pairs.jsonl}``."""
        if not isinstance(parts, Mapping):
            return parts
        return {name: {"data": part} if isinstance(part, str) else part for name, part in parts.items()}

    @model_validator(mode="after")
    def _agrees(self) -> RewardModels:
        for name, shares in self.mixtures.items():
            unknown = [part for part in shares if part not in self.parts]
            if unknown:
                raise ValueError(
                    f"the mixture {name} names {', '.join(unknown)}, and the parts are {', '.join(self.parts)}; name "
                    "parts"
                )
            if not any(share > 0 for share in shares.values()):
                raise ValueError(f"the mixture {name} has no part with a share above 0; give one a share")
        if any("/" in name for name in [*self.parts, *self.mixtures]):
            raise ValueError("parts and mixtures are names of folders; write them without /")
        if not self.train.loss.compares:
            raise ValueError(
                f"mixtures hold pairs, and the loss {self.train.loss.kind} takes scores; use bradley_terry"
            )
        return self

    @property
    def mixed(self) -> dict[str, Mix]:
        """Model's name -> what it is trained on; the size is this recipe's."""
        whole = {"+".join(self.parts): {name: part.share for name, part in self.parts.items()}}
        shares = self.mixtures or {name: {name: 1.0} for name in self.parts} | whole
        return {
            model: Mix(
                parts={
                    name: self.parts[name].model_copy(update={"share": share})
                    for name, share in mixture.items()
                    if share > 0
                },
                size=self.size,
                seed=self.seed,
            )
            for model, mixture in shares.items()
        }
