"""prefboost: align language models with scored preference data.

    import prefboost as pb

    scored = pb.read(pb.UltraFeedback(split="train"))
    pairs = pb.pair(scored, pb.BestVsRandom(seed=0))
    goals = pb.relabel(pairs, pb.RewardAugmented(ties="drop"))
    data = pb.condition(goals, pb.SayGoal(place="system"))
    policy = pb.train(data, pb.Train(model="Qwen/Qwen2-7B-Instruct", loss=pb.DPO(beta=0.01)))

The public names load on first use, so that importing the package stays fast and loads no torch.
"""

from __future__ import annotations

import importlib
import os
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prefboost.chat import SayGoal
    from prefboost.engines.engine import Sampling
    from prefboost.engines.llamacpp import LlamaCpp
    from prefboost.engines.local import Local
    from prefboost.engines.openai_compatible import OpenAICompatible
    from prefboost.engines.replay import Replay
    from prefboost.evaluation.academic.harness import Academic, academic
    from prefboost.evaluation.reward_models.accuracy import RewardAccuracy
    from prefboost.losses import DPO, IPO, ORPO, RPO, SFT, MarginDPO, SimPO
    from prefboost.preferences import (
        Adjacent,
        AllPairs,
        BestVsRandom,
        BestVsWorst,
        HighGoalOnly,
        MarginAtLeast,
        Plain,
        RewardAugmented,
        condition,
        pair,
        relabel,
    )
    from prefboost.preferences.accept import BestOfN, RejectionSampling, ScoreAtLeast
    from prefboost.preferences.select import Select, select
    from prefboost.preferences.verdict_pairs import ByVerdict, pairs_of_verdicts
    from prefboost.recipes.implicit_reward import ImplicitRewards
    from prefboost.recipes.load import load
    from prefboost.recipes.on_policy import OnPolicy
    from prefboost.recipes.recipe import Recipe
    from prefboost.runs.augment import Augment, augment
    from prefboost.runs.generate import Generate, generate
    from prefboost.runs.judge import judge
    from prefboost.runs.recipe_run import run
    from prefboost.runs.reward_accuracy import reward_accuracy
    from prefboost.runs.score import score
    from prefboost.runs.select import SelectCompletions, select_completions
    from prefboost.runs.stages import run_recipe
    from prefboost.runs.stages import train_on as train
    from prefboost.runs.synthesize import Synthesize, synthesize
    from prefboost.runs.train_reward import train_reward_on as train_reward
    from prefboost.scoring import ImplicitReward, Rater, RegressorScorer, RewardModelScorer, RulesScorer
    from prefboost.scoring.llm_judge import LlmJudge
    from prefboost.scoring.regressor_fit import FitRegressor, fit_regressor
    from prefboost.scoring.scorer_judge import ScorerJudge
    from prefboost.sources import Columns, File, UltraFeedback, read, read_batches
    from prefboost.sources.verdict_files import read_verdicts
    from prefboost.synthesis.edits import Clair, RMBoost
    from prefboost.synthesis.rlaif import RLAIF
    from prefboost.synthesis.rlcd import RLCD
    from prefboost.synthesis.ultrafeedback import UltraFeedback as UltraFeedbackPairs
    from prefboost.synthesis.west_of_n import WestOfN
    from prefboost.tables import Table
    from prefboost.training import Lora, Train, TrainReward

# Read by Polars when it is first imported. It gives freed memory back after half a second, which `augment` then has to
# ask for again with every batch: an eighth of its time.
os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:10000")

__version__ = "0.1.0"

_LOSSES = ("DPO", "IPO", "ORPO", "RPO", "SFT", "MarginDPO", "SimPO")
_PREFERENCES = (
    "Adjacent",
    "AllPairs",
    "Augment",
    "BestVsRandom",
    "BestVsWorst",
    "HighGoalOnly",
    "MarginAtLeast",
    "Plain",
    "RewardAugmented",
    "condition",
    "pair",
    "relabel",
)

_HOMES: dict[str, str] = {
    **dict.fromkeys(_LOSSES, "prefboost.losses"),
    **dict.fromkeys(_PREFERENCES, "prefboost.preferences"),
    **dict.fromkeys(("Select", "select"), "prefboost.preferences.select"),
    **dict.fromkeys(("BestOfN", "RejectionSampling", "ScoreAtLeast"), "prefboost.preferences.accept"),
    **dict.fromkeys(("Columns", "File", "UltraFeedback", "read", "read_batches"), "prefboost.sources"),
    **dict.fromkeys(("Lora", "Train", "TrainReward"), "prefboost.training"),
    **dict.fromkeys(("Generate", "generate"), "prefboost.runs.generate"),
    **dict.fromkeys(("Academic", "academic"), "prefboost.evaluation.academic.harness"),
    "LlmJudge": "prefboost.scoring.llm_judge",
    "Local": "prefboost.engines.local",
    **dict.fromkeys(("Augment", "augment"), "prefboost.runs.augment"),
    "OpenAICompatible": "prefboost.engines.openai_compatible",
    "Recipe": "prefboost.recipes.recipe",
    "Replay": "prefboost.engines.replay",
    **dict.fromkeys(
        ("ImplicitReward", "Rater", "RegressorScorer", "RewardModelScorer", "RulesScorer"), "prefboost.scoring"
    ),
    **dict.fromkeys(("FitRegressor", "fit_regressor"), "prefboost.scoring.regressor_fit"),
    **dict.fromkeys(("ByVerdict", "pairs_of_verdicts"), "prefboost.preferences.verdict_pairs"),
    "LlamaCpp": "prefboost.engines.llamacpp",
    "read_verdicts": "prefboost.sources.verdict_files",
    "Sampling": "prefboost.engines.engine",
    "SayGoal": "prefboost.chat",
    "RewardAccuracy": "prefboost.evaluation.reward_models.accuracy",
    "ScorerJudge": "prefboost.scoring.scorer_judge",
    "Table": "prefboost.tables",
    "ImplicitRewards": "prefboost.recipes.implicit_reward",
    "OnPolicy": "prefboost.recipes.on_policy",
    "judge": "prefboost.runs.judge",
    "load": "prefboost.recipes.load",
    "reward_accuracy": "prefboost.runs.reward_accuracy",
    "run": "prefboost.runs.recipe_run",
    "run_recipe": "prefboost.runs.stages",
    "score": "prefboost.runs.score",
    **dict.fromkeys(("SelectCompletions", "select_completions"), "prefboost.runs.select"),
    **dict.fromkeys(("Clair", "RMBoost"), "prefboost.synthesis.edits"),
    "RLAIF": "prefboost.synthesis.rlaif",
    "RLCD": "prefboost.synthesis.rlcd",
    **dict.fromkeys(("Synthesize", "synthesize"), "prefboost.runs.synthesize"),
    "UltraFeedbackPairs": "prefboost.synthesis.ultrafeedback:UltraFeedback",
    "WestOfN": "prefboost.synthesis.west_of_n",
    "train": "prefboost.runs.stages:train_on",
    "train_reward": "prefboost.runs.train_reward:train_reward_on",
}
"""Public name -> where it stands (``module``, or ``module:name`` where it is called differently there)."""

_NEEDED = ("numpy", "polars", "pyarrow")
"""Libraries that every installation of prefboost has, unless somebody took one away."""

__all__ = [
    "RegressorScorer",
    "FitRegressor",
    "fit_regressor",
    "ByVerdict",
    "pairs_of_verdicts",
    "LlamaCpp",
    "read_verdicts",
    "Academic",
    "Adjacent",
    "AllPairs",
    "Augment",
    "BestOfN",
    "BestVsRandom",
    "BestVsWorst",
    "Clair",
    "Columns",
    "DPO",
    "File",
    "Generate",
    "HighGoalOnly",
    "IPO",
    "ImplicitReward",
    "ImplicitRewards",
    "LlmJudge",
    "Local",
    "Lora",
    "MarginAtLeast",
    "MarginDPO",
    "ORPO",
    "OnPolicy",
    "OpenAICompatible",
    "Plain",
    "RLAIF",
    "RLCD",
    "RMBoost",
    "RPO",
    "Rater",
    "Recipe",
    "RejectionSampling",
    "Replay",
    "RewardAccuracy",
    "RewardAugmented",
    "RewardModelScorer",
    "RulesScorer",
    "SFT",
    "Sampling",
    "SayGoal",
    "SelectCompletions",
    "select_completions",
    "ScoreAtLeast",
    "ScorerJudge",
    "Select",
    "SimPO",
    "Synthesize",
    "Table",
    "Train",
    "TrainReward",
    "UltraFeedback",
    "UltraFeedbackPairs",
    "WestOfN",
    "academic",
    "augment",
    "condition",
    "generate",
    "judge",
    "load",
    "pair",
    "read",
    "read_batches",
    "relabel",
    "reward_accuracy",
    "run",
    "run_recipe",
    "score",
    "select",
    "synthesize",
    "train",
    "train_reward",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'prefboost' has no attribute {name!r}; public names: {', '.join(__all__)}")
    module, _, known_as = _HOMES[name].partition(":")
    found: object = getattr(_module(module), known_as or name)
    globals()[name] = found
    return found


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # A scale or a table without Polars or NumPy: training alone can do without them, most of prefboost cannot.
        if error.name in _NEEDED:
            from prefboost.errors import MissingExtra

            raise MissingExtra(error.name, "") from error
        raise


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
