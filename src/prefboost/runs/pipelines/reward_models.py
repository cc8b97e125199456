"""The stages of a recipe of reward models: read parts, mix them at equal size, train on each mixture, measure each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from prefboost.errors import DataError
from prefboost.preferences.gather import gather
from prefboost.preferences.mix import Mix, mix
from prefboost.progress import tell_bar
from prefboost.recipes.executors import OnRay, OnThisMachine
from prefboost.recipes.reward import RewardModels
from prefboost.runs.augment.settings import Augment
from prefboost.runs.folder.manifest import Run, hash_input, names_input
from prefboost.runs.folder.schedule import Stage
from prefboost.runs.folder.staging import locate_staging
from prefboost.runs.pipelines.parts import take_part
from prefboost.runs.pipelines.stage_tables import list_table_files, load_table, write_table
from prefboost.runs.pipelines.train_reward import train_reward_on
from prefboost.runs.pipelines.training import build_training_stage, fingerprint_models, join_folder
from prefboost.runs.preparation import pair_completions
from prefboost.runs.score.reward_accuracy import reward_accuracy
from prefboost.scoring import RewardModelScorer
from prefboost.settings import dump_with_kind
from prefboost.sources import read
from prefboost.tables import EVALUATION_SPLITS, PREFERENCE_PAIRS, Table
from prefboost.training.claim import MODEL

if TYPE_CHECKING:
    from prefboost.progress import Progress

__all__ = ["build_reward_stages", "list_reward_files", "mix_reward_pairs"]

MIXED, TEST, ACCURACY = "pairs.parquet", "test.parquet", "accuracy.json"
DATA = "data"
"""The stage and the folder of the parts as pairs."""


def build_reward_stages(recipe: RewardModels, run: Run, progress: Progress | None = None) -> list[Stage]:
    """Build every stage of the recipe, in order: data, then pairs, train and accuracy of every mixture."""
    builder = _Stages(recipe, run, progress)
    stages = [builder.data()]
    for model in recipe.mixed:
        stages += [builder.pairs(model), builder.train(model), builder.accuracy(model)]
    return stages


def mix_reward_pairs(recipe: RewardModels) -> tuple[dict[str, Table], Table]:
    """Read the parts on this machine, and return every model's training pairs, and the pairs of the test.

    Raises:
        DataError: see the stages.
    """
    parts = {name: pair_completions(read(each.data, columns=recipe.columns), recipe.pair)
             for name, each in recipe.parts.items()}  # fmt: skip
    named = None if recipe.test is None else pair_completions(read(recipe.test, columns=recipe.columns), recipe.pair)
    test = _gather_test_pairs(parts) if named is None else gather(named)
    training = {name: _drop_evaluation_rows(table) for name, table in parts.items()}

    def draw(how: Mix) -> Table:
        return mix({name: training[name] for name in how.parts}, how, evaluated=test)

    size = min(_count_drawn(draw(how)) for how in recipe.mixed.values())
    return {model: draw(how.model_copy(update={"size": size})) for model, how in recipe.mixed.items()}, test


def list_reward_files(recipe: RewardModels) -> list[str]:
    """List paths, patterns and addresses that the recipe reads; data sets on the hub are not among them."""
    paths = [part.data for part in recipe.parts.values()] + ([recipe.test] if recipe.test else [])
    return [path for path in dict.fromkeys(paths) if names_input(path)]


@dataclass(frozen=True)
class _Stages:
    recipe: RewardModels
    run: Run
    progress: Progress | None

    def data(self) -> Stage:
        """Build the stage that reads parts as pairs, picks those to measure on, and settles the size of mixtures."""
        part = take_part(
            self.recipe, ("parts", "mixtures", "size", "test", "columns", "pair", "seed"), free=("executor",)
        )

        def work() -> Mapping[str, Any]:
            recipe = part.recipe
            with open_pair_reader(recipe.executor) as read_by:
                parts = {
                    name: read_by(recipe, each.data, self.run.path / DATA / name) for name, each in recipe.parts.items()
                }
                named = None if recipe.test is None else read_by(recipe, recipe.test, self.run.path / DATA / TEST)
            test = _gather_test_pairs(parts) if named is None else gather(named)
            notes = write_table(test, self.run.path / DATA / TEST)
            rejected = {f"test: {reason}": count for reason, count in notes["rejected"].items()}
            for name, table in parts.items():
                counts = write_table(_drop_evaluation_rows(table), self.run.path / DATA / "parts" / f"{name}.parquet")
                rejected |= {f"{name}: {reason}": count for reason, count in counts["rejected"].items()}
            # As set, or as many training pairs as the smallest mixture can have.
            written = self._test()
            drawn = [mix(self._parts(how.parts), how, evaluated=written) for how in recipe.mixed.values()]
            size = min(map(_count_drawn, drawn))
            return {"size": size, "test pairs": len(test), **notes, "rejected": rejected}

        names = [TEST, *(f"parts/{name}.parquet" for name in self.recipe.parts)]
        return Stage(
            DATA,
            part.settings,
            tuple(f"{DATA}/{file}" for name in names for file in list_table_files(name)),
            work,
            inputs={path: hash_input(path) for path in list_reward_files(self.recipe)},
            scraps=tuple(f"{DATA}/{locate_staging(Path(name)).name}" for name in (TEST, *self.recipe.parts)),
        )

    def pairs(self, model: str) -> Stage:
        """Build the stage that mixes the pairs of one model."""

        mixture = self.recipe.mixed[model]

        def work() -> Mapping[str, Any]:
            how = mixture.model_copy(update={"size": self.run.notes(DATA)["size"]})
            pairs = mix(self._parts(how.parts), how, evaluated=self._test())
            return {
                **write_table(pairs, self.run.path / model / MIXED),
                "drawn": pairs.steps[-1].notes["training pairs"],
            }

        settings = {"mixture": mixture.model_dump(mode="json")}
        return Stage(f"{model}/pairs", settings, join_folder(model, *list_table_files(MIXED)), work, after=(DATA,))

    def train(self, model: str) -> Stage:
        """Build the stage that trains one reward model."""
        # The strategy plays no part: what it would pair is pairs already.
        part, folder = take_part(self.recipe, ("train",), free=("pair",)), self.run.path / model

        def work() -> Mapping[str, Any]:
            table = load_table(folder / MIXED, PREFERENCE_PAIRS)
            report = train_reward_on(
                table, part.recipe.train, folder, strategy=part.recipe.pair, progress=self.progress
            )
            return {**asdict(report), "what": "pairs"}

        return build_training_stage(
            f"{model}/train",
            model,
            part.settings,
            work,
            after=(f"{model}/pairs",),
            inputs=fingerprint_models(self.recipe.train.model),
        )

    def accuracy(self, model: str) -> Stage:
        """Build the stage that measures how often one model prefers what was preferred."""
        part, folder = take_part(self.recipe, ("accuracy",)), self.run.path / model

        def work() -> Mapping[str, Any]:
            scorer = RewardModelScorer(model=str((folder / MODEL).resolve()), dtype="float32")
            report: Any = reward_accuracy(
                self._test(), scorer, part.recipe.accuracy, folder / ACCURACY, progress=tell_bar(self.progress)
            )
            # The manifest names the main figures; the file holds all of them.
            record = report.record()
            return {name: record[name] for name in ("accuracy", "bounds", "pairs", "missing", "longer")}

        return Stage(
            f"{model}/accuracy",
            part.settings,
            join_folder(model, ACCURACY),
            work,
            after=(DATA, f"{model}/train"),
            scraps=join_folder(model, "accuracy.scores.parquet", "accuracy.scores.parquet.store"),
        )

    def _parts(self, names: Mapping[str, Any]) -> dict[str, Table]:
        folder = self.run.path / DATA / "parts"
        return {name: load_table(folder / f"{name}.parquet", PREFERENCE_PAIRS) for name in names}

    def _test(self) -> Table:
        return load_table(self.run.path / DATA / TEST, PREFERENCE_PAIRS)


@contextmanager
def open_pair_reader(executor: OnThisMachine | OnRay) -> Iterator[Callable[[RewardModels, str, Path], Table]]:
    """Open what reads a file as pairs, here or by a cluster; its parts wait beside the path that is named last."""
    if isinstance(executor, OnThisMachine):
        yield lambda recipe, path, _: pair_completions(read(path, columns=recipe.columns), recipe.pair)
        return
    from prefboost.runs.ray.data_spread import open_spread
    from prefboost.runs.ray.data_verbs import pair_on

    with open_spread(executor) as spread:

        def read_pairs(recipe: RewardModels, path: str, place: Path) -> Table:
            verb, settings = partial(pair_completions, strategy=recipe.pair), dump_with_kind(recipe.pair)
            return pair_on(spread, path, Augment(columns=recipe.columns), verb, place, settings=settings)

        yield read_pairs


def _count_drawn(pairs: Table) -> int:
    """Count the training pairs of a mixture."""
    return sum(pairs.steps[-1].notes["training pairs"].values())


def _gather_test_pairs(parts: Mapping[str, Table]) -> Table:
    """Gather the rows of all parts that are marked for evaluation, each once.

    Raises:
        DataError: there are none.
    """
    frames = [
        table.frame.filter(pl.col("split").is_in(EVALUATION_SPLITS).fill_null(False)).with_columns(
            pair_id=pl.concat_str(pl.lit(f"{name}/"), "pair_id"), source=pl.lit(name)
        )
        for name, table in parts.items()
        if "split" in table.frame.columns
    ]
    joined = pl.concat(frames, how="diagonal_relaxed") if frames else pl.DataFrame()
    if joined.is_empty():
        raise DataError(
            "no pairs to measure the reward models on: no row of a part has validation or test as its split",
            remedy="name a file of pairs as test, or mark rows by a column split",
        )
    return gather(Table(PREFERENCE_PAIRS, joined))


def _drop_evaluation_rows(table: Table) -> Table:
    if "split" not in table.frame.columns:
        return table
    kept_rows = table.frame.filter(~pl.col("split").is_in(EVALUATION_SPLITS).fill_null(False))
    return Table(table.spec, kept_rows, table.rejects, table.steps, table.scales, table.path)
