"""The arms of the comparison: one way each of making pairs from the same prompts and engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from prefboost.runs.reproduce.rmboost.settings import RewardReproduction
from prefboost.scoring.judges.judge import JUDGES, Judge
from prefboost.scoring.judges.llm import LlmJudge
from prefboost.scoring.scorer import Scorer
from prefboost.settings import choice
from prefboost.synthesis.calls import ModelCalls
from prefboost.synthesis.edits import RMBoost
from prefboost.synthesis.method import Method
from prefboost.synthesis.proposal import PromptItem, Proposal
from prefboost.synthesis.rlaif import RLAIF, label_proposals
from prefboost.synthesis.rlcd import RLCD
from prefboost.synthesis.west_of_n import WestOfN

__all__ = ["HUMAN", "METHOD_ARMS", "JudgedEdits", "MethodArm", "build_method"]

HUMAN = "labelled"
"""Name of the arm that trains on the labels of the data, as many pairs as the others have at most."""

_OVERALL = {"overall quality": "as a whole it is the better one"}


class JudgedEdits(RMBoost):
    """The same two completions as RMBoost's, whose label is the judge's and not the request's."""

    kind: Literal["prefboost.runs.reproduce.rmboost.arms:JudgedEdits"] = Field(  # type: ignore[assignment]
        "prefboost.runs.reproduce.rmboost.arms:JudgedEdits", description="Edits labelled afterwards."
    )
    judge: Annotated[Judge, choice(JUDGES)] = Field(description="Judge that labels.")

    def propose(self, items: Sequence[PromptItem], calls: ModelCalls) -> list[Proposal]:
        """Write both completions of each prompt, then judge them (see `prefboost.synthesis.method.Method`)."""
        return label_proposals(super().propose(items, calls), self.judge, (self.aspects, "criteria"), calls)


@dataclass(frozen=True)
class MethodArm:
    """One way of making pairs.

    Args:
        purpose: what a comparison with it shows.
        build: settings that all generating methods share, judge, and base scorer -> method.
    """

    purpose: str
    build: Callable[[dict[str, Any], RewardReproduction, Judge, Scorer | None], Method] | None


def _build_west_of_n(shared: dict[str, Any], settings: RewardReproduction, _: Judge, scorer: Scorer | None) -> WestOfN:
    # To count calls no base model is needed, so that any scorer does.
    base = scorer or {"kind": "rules"}
    return WestOfN(**shared, n=settings.n, scorer=base, margin_quantile=settings.margin_quantile)


METHOD_ARMS: dict[str, MethodArm] = {
    "rmboost": MethodArm(
        "label first, then a completion that is better or worse on several aspects",
        lambda shared, settings, *_: RMBoost(**shared),
    ),
    "rlaif": MethodArm(
        "two samples, labelled by a judge in both orders",
        lambda shared, settings, judge, _: RLAIF(**shared, judge=judge),
    ),
    "rlcd": MethodArm("a better and a worse phrase; no judge", lambda shared, settings, *_: RLCD(**shared)),
    "west_of_n": MethodArm(
        "best and worst of n samples by a reward model of labelled pairs, the surest kept", _build_west_of_n
    ),
    "rmboost_one_aspect": MethodArm(
        "does it need several aspects? one, drawn for every pair",
        lambda shared, settings, *_: RMBoost(
            **{**shared, "aspects": shared["aspects"].model_copy(update={"k": 1})}
        ),
    ),
    "rmboost_no_aspects": MethodArm(
        "does it need named aspects? better or worse as a whole",
        lambda shared, settings, *_: RMBoost(
            **{**shared, "aspects": shared["aspects"].model_copy(update={
                "names": tuple(_OVERALL), "definitions": _OVERALL, "k": None,
            })}
        ),
    ),
    "rmboost_judged": MethodArm(
        "does the label have to come first? the same pairs, labelled afterwards by the judge",
        lambda shared, settings, judge, _: JudgedEdits(**shared, judge=judge),
    ),
    HUMAN: MethodArm("the labels of the data themselves, on the prompts that the others write to", None),
}  # fmt: skip
"""Name -> arm, in the order of reports."""


def build_method(name: str, settings: RewardReproduction, scorer: Scorer | None = None) -> Method:
    """Build the method of an arm that writes.

    Args:
        name: of the arm.
        settings: engine, judge, sampling, aspects.
        scorer: the base reward model of West-of-N; None where only calls are counted.
    """
    shared = {
        "generator": settings.generator,
        "sampling": settings.sampling,
        "aspects": settings.aspects,
        "seed": settings.data_seed,
    }
    # As in the published labeller: log-probs of the verdicts, averaged over both orders.
    judge = settings.judge or LlmJudge(engine=settings.generator, read="logprobs", ties=False, min_mass=0.0)
    build = METHOD_ARMS[name].build
    assert build is not None
    return build(shared, settings, judge, scorer)
