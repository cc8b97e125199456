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

import functools
import importlib
import os
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # The one list of public names: type checkers follow these imports, `__getattr__` reads them. `X as X` exports X.
    from prefboost.chat import SayGoal as SayGoal
    from prefboost.diagnosis.inspection import inspect as inspect
    from prefboost.engines.engine import Sampling as Sampling
    from prefboost.engines.llamacpp import LlamaCpp as LlamaCpp
    from prefboost.engines.local.engine import Local as Local
    from prefboost.engines.openai.engine import OpenAICompatible as OpenAICompatible
    from prefboost.engines.replay import Replay as Replay
    from prefboost.engines.vllm import VLLM as VLLM
    from prefboost.evaluation.academic.benchmark import AcademicSet as AcademicSet
    from prefboost.evaluation.academic.harness import Academic as Academic
    from prefboost.evaluation.academic.harness import academic as academic
    from prefboost.evaluation.alpaca.benchmark import AlpacaSet as AlpacaSet
    from prefboost.evaluation.alpaca.pairwise import Pairwise as Pairwise
    from prefboost.evaluation.arena_hard.benchmark import ArenaHard as ArenaHard
    from prefboost.evaluation.mt_bench.benchmark import MtBench as MtBench
    from prefboost.evaluation.reward_models.accuracy import RewardAccuracy as RewardAccuracy
    from prefboost.evaluation.reward_models.benchmark import RewardContest as RewardContest
    from prefboost.losses import AOT as AOT
    from prefboost.losses import CPO as CPO
    from prefboost.losses import DPO as DPO
    from prefboost.losses import IPO as IPO
    from prefboost.losses import ORPO as ORPO
    from prefboost.losses import RPO as RPO
    from prefboost.losses import SFT as SFT
    from prefboost.losses import AOTUnpaired as AOTUnpaired
    from prefboost.losses import APODown as APODown
    from prefboost.losses import APOZero as APOZero
    from prefboost.losses import BCOPair as BCOPair
    from prefboost.losses import DiscoPOP as DiscoPOP
    from prefboost.losses import EXOPair as EXOPair
    from prefboost.losses import Hinge as Hinge
    from prefboost.losses import KTOPair as KTOPair
    from prefboost.losses import MarginDPO as MarginDPO
    from prefboost.losses import NCAPair as NCAPair
    from prefboost.losses import RobustDPO as RobustDPO
    from prefboost.losses import SimPO as SimPO
    from prefboost.losses import SPPOHard as SPPOHard
    from prefboost.losses import Term as Term
    from prefboost.losses import WeightedSum as WeightedSum
    from prefboost.preferences import Adjacent as Adjacent
    from prefboost.preferences import AllPairs as AllPairs
    from prefboost.preferences import BestVsRandom as BestVsRandom
    from prefboost.preferences import BestVsWorst as BestVsWorst
    from prefboost.preferences import HighGoalOnly as HighGoalOnly
    from prefboost.preferences import MarginAtLeast as MarginAtLeast
    from prefboost.preferences import Plain as Plain
    from prefboost.preferences import RewardAugmented as RewardAugmented
    from prefboost.preferences import condition as condition
    from prefboost.preferences import pair as pair
    from prefboost.preferences import relabel as relabel
    from prefboost.preferences.score_selection import BestOfN as BestOfN
    from prefboost.preferences.score_selection import RejectionSampling as RejectionSampling
    from prefboost.preferences.score_selection import ScoreAtLeast as ScoreAtLeast
    from prefboost.preferences.select import Select as Select
    from prefboost.preferences.select import select as select
    from prefboost.preferences.verdict_pairs import ByVerdict as ByVerdict
    from prefboost.preferences.verdict_pairs import pairs_of_verdicts as pairs_of_verdicts
    from prefboost.recipes.implicit_reward import ImplicitRewards as ImplicitRewards
    from prefboost.recipes.load import load as load
    from prefboost.recipes.on_policy import OnPolicy as OnPolicy
    from prefboost.recipes.recipe import Recipe as Recipe
    from prefboost.runs.augment.augment import Augment as Augment
    from prefboost.runs.augment.augment import augment as augment
    from prefboost.runs.evaluate.compare import compare_folders
    from prefboost.runs.evaluate.evaluate import evaluate as evaluate
    from prefboost.runs.evaluate.settings import Evaluate as Evaluate
    from prefboost.runs.generate.generate import Generate as Generate
    from prefboost.runs.generate.generate import generate as generate
    from prefboost.runs.pipelines.run import run as run
    from prefboost.runs.pipelines.run import run_recipe as run_recipe
    from prefboost.runs.pipelines.train_reward import train_reward_on
    from prefboost.runs.pipelines.training import train_on
    from prefboost.runs.push import Push as Push
    from prefboost.runs.push import push as push
    from prefboost.runs.score.judge import judge as judge
    from prefboost.runs.score.reward_accuracy import reward_accuracy as reward_accuracy
    from prefboost.runs.score.score import score as score
    from prefboost.runs.select.select import select_completions as select_completions
    from prefboost.runs.select.settings import SelectCompletions as SelectCompletions
    from prefboost.runs.synthesize.synthesize import Synthesize as Synthesize
    from prefboost.runs.synthesize.synthesize import synthesize as synthesize
    from prefboost.scoring import ImplicitReward as ImplicitReward
    from prefboost.scoring import Rater as Rater
    from prefboost.scoring import RegressorScorer as RegressorScorer
    from prefboost.scoring import RewardModelScorer as RewardModelScorer
    from prefboost.scoring import RulesScorer as RulesScorer
    from prefboost.scoring.judges.from_scorer import ScorerJudge as ScorerJudge
    from prefboost.scoring.judges.llm import LlmJudge as LlmJudge
    from prefboost.scoring.regressor.fit import FitRegressor as FitRegressor
    from prefboost.scoring.regressor.fit import fit_regressor as fit_regressor
    from prefboost.sources import Columns as Columns
    from prefboost.sources import File as File
    from prefboost.sources import HelpSteer as HelpSteer
    from prefboost.sources import HhRlhf as HhRlhf
    from prefboost.sources import InMemory as InMemory
    from prefboost.sources import Nectar as Nectar
    from prefboost.sources import SafeRLHF as SafeRLHF
    from prefboost.sources import Skywork as Skywork
    from prefboost.sources import UltraFeedback as UltraFeedback
    from prefboost.sources import read as read
    from prefboost.sources import read_batches as read_batches
    from prefboost.sources.convert import to_dataset as to_dataset
    from prefboost.sources.convert import to_polars as to_polars
    from prefboost.sources.readers.verdict_files import read_verdicts as read_verdicts
    from prefboost.sources.write import write as write
    from prefboost.synthesis.edits import Clair as Clair
    from prefboost.synthesis.edits import RMBoost as RMBoost
    from prefboost.synthesis.rlaif import RLAIF as RLAIF
    from prefboost.synthesis.rlcd import RLCD as RLCD
    from prefboost.synthesis.ultrafeedback import UltraFeedbackPairs as UltraFeedbackPairs
    from prefboost.synthesis.west_of_n import WestOfN as WestOfN
    from prefboost.tables import Table as Table
    from prefboost.training import Lora as Lora
    from prefboost.training import Train as Train
    from prefboost.training import TrainReward as TrainReward

    compare = compare_folders
    train = train_on
    train_reward = train_reward_on

# Read by Polars when it is first imported. It gives freed memory back after half a second, which `augment` then has to
# ask for again with every batch: an eighth of its time.
os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:10000")

__version__ = "0.1.0"

_NEEDED = ("numpy", "polars", "pyarrow")
"""Libraries that every installation of prefboost has, unless somebody took one away."""


@functools.cache
def _read_public_names() -> dict[str, tuple[str, str]]:
    """Read the block of imports above: public name -> its module and its name there."""
    import ast
    import pkgutil

    tree = ast.parse(pkgutil.get_data(__name__, "__init__.py") or b"")
    block = next(node for node in tree.body if isinstance(node, ast.If))
    names: dict[str, tuple[str, str]] = {}
    for node in block.body:
        if isinstance(node, ast.ImportFrom):
            names |= {alias.name: (str(node.module), alias.name) for alias in node.names}
        elif isinstance(node, ast.Assign):
            names[ast.unparse(node.targets[0])] = names.pop(ast.unparse(node.value))
    return names


def __getattr__(name: str) -> object:
    names = _read_public_names()
    if name == "__all__":
        return sorted(names)
    if name not in names:
        raise AttributeError(f"module 'prefboost' has no attribute {name!r}; public names: {', '.join(sorted(names))}")
    module, name_there = names[name]
    value: object = getattr(_import_module(module), name_there)
    globals()[name] = value
    return value


def _import_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # A scale or a table without Polars or NumPy: training alone can do without them, most of prefboost cannot.
        if error.name in _NEEDED:
            from prefboost.errors import MissingExtra

            raise MissingExtra(error.name, "") from error
        raise


def __dir__() -> list[str]:
    return [*sorted(_read_public_names()), "__version__"]
