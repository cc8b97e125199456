"""Parts that a report lacks, each with a command that makes its data from what its folders still hold."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from prefboost.runs.pipelines.goal_pairs import PAIRS
from prefboost.runs.report.diagnoses import list_undiagnosed
from prefboost.runs.report.sources import RESULTS, is_at_work, list_best_cells, list_trainings, read_json_file
from prefboost.runs.reproduce.cells import CELLS
from prefboost.training.claim import MANIFEST, MODEL

__all__ = ["Leftovers", "list_missing"]

_OF_TRAININGS = ("Before and after relabelling", "Training curves", "Data card", "Cost and time", "Samples")
"""Parts that the folder of every training brings."""


def list_missing(paths: Sequence[Path], titles: set[str], *, evaluated: bool = False) -> dict[str, str]:
    """List the parts that have no data, each with a command that makes them.

    Args:
        paths: what the report is made of.
        titles: of the parts that are on the page.
        evaluated: an evaluation is among the paths, whose parts have other titles.

    Returns:
        part -> command. It names folders only where it can work on them; words in capitals are the reader's to replace.
    """
    leftovers = Leftovers.find(paths)
    policy = leftovers.policies[0] if leftovers.policies else "POLICY"
    makers = {
        "Score against KL": leftovers.suggest_frontier(),
        "Goal response": leftovers.suggest_goal_response(),
        "Unlearning by score": leftovers.suggest_unlearning(paths),
        "Win rates": _join("evaluate", policy, "benchmarks=[alpaca_eval]", "judge=JUDGE"),
        **dict.fromkeys(
            _OF_TRAININGS, _join("report", *leftovers.cells) if leftovers.cells else "prefboost train RECIPE"
        ),
    }
    present = {*titles, *(["Win rates"] if evaluated else [])}
    return {part: command for part, command in makers.items() if not any(title.startswith(part) for title in present)}


@dataclass(frozen=True)
class Leftovers:
    """Trainings and weights in the folders of a report, from which a command could start.

    Args:
        home: the folder that new files belong into.
        policies: folders of trained policies.
        conditioned: those of them that were trained with goals.
        start: the model that they were trained from.
        reproduction: the folder of a comparison of policies; None where there is none.
        cells: folders of its trainings: the best of each arm, and before those are known the first of all.
        unfinished: run folders with pairs, and without the policy that is trained on them.
    """

    home: Path
    policies: tuple[Path, ...]
    conditioned: tuple[Path, ...]
    start: str
    reproduction: Path | None
    cells: tuple[Path, ...]
    unfinished: tuple[Path, ...]

    @classmethod
    def find(cls, paths: Sequence[Path]) -> Leftovers:
        """Look through the folders of a report."""
        runs = [path for path in paths if path.is_dir()]
        # A cell of a reproduction is a run folder too, but no command of its own would train it again.
        homes = {run: parent for run in runs for parent in (run, run.absolute().parent.parent) if _compares(parent)}
        reproduction = next(iter(homes.values()), None)
        cells = [run for run, parent in homes.items() if run != parent]
        if reproduction is not None and not cells:
            results = read_json_file(reproduction / RESULTS) or {"figures": ()}
            best = list_best_cells(reproduction, results, read_json_file(reproduction / MANIFEST)).values()
            every = sorted(each for each in (reproduction / CELLS).glob("*") if each.is_dir())
            trained = [each for each in every if any(list_trainings(each))]
            cells = [each for each in trained if each in best] or trained[:1]
        policies, conditioned, unfinished, starts = [], [], [], []
        for folder in dict.fromkeys([*runs, *cells]):
            train = (read_json_file(folder / MANIFEST) or {}).get("settings", {}).get("train") or {}
            # A training without goal pairs is one of a reward model.
            trainings = [each for _, each in list_trainings(folder) if (each / PAIRS).is_file()]
            with_weights = [each for each in trainings if (each / MODEL).is_dir()]
            policies += [each / MODEL for each in with_weights]
            goals = {each: pl.read_parquet(each / PAIRS, columns=["goal"])["goal"] for each in with_weights}
            conditioned += [each / MODEL for each in with_weights if goals[each].count()]
            starts += [train["model"]] if with_weights and "model" in train else []
            unfinished += [folder] if len(with_weights) < len(trainings) and folder not in cells and train else []
        home, start = next(iter(runs), Path()), str(next(iter(starts), "MODEL"))
        return cls(home, tuple(policies), tuple(conditioned), start, reproduction, tuple(cells), tuple(unfinished))

    def suggest_frontier(self) -> str:
        """Suggest how score against KL is measured."""
        scorer = ("scorer.kind=reward_model", "scorer.model=REWARD_MODEL")
        if self.reproduction is not None and not self.policies:
            # With a scorer its own results have this part.
            return self.repeat_reproduction(*scorer, name="scored")
        models = f"models=[{','.join(map(str, self.policies)) or 'POLICY'}]"
        out = self.home / "frontier.json"
        return _join("diagnose", "frontier", "PROMPTS", f"start={self.start}", *scorer, models, "-o", out)

    def suggest_goal_response(self) -> str:
        """Suggest how achieved scores are measured by the requested ones."""
        policy = self.conditioned[0] if self.conditioned else "POLICY"
        completions, scored = (self.home / f"goals.{name}.parquet" for name in ("completions", "scored"))
        scorer = ("kind=reward_model", "model=REWARD_MODEL")
        return " && ".join(
            (
                _join("generate", policy, "PROMPTS", "goals=[LOW,HIGH]", "-o", completions),
                _join("score", completions, *scorer, "-o", scored),
                _join("diagnose", "controllability", scored, "-o", self.home / "controllability.json"),
            )
        )

    def suggest_unlearning(self, paths: Sequence[Path]) -> str:
        """Suggest how changes of log-probs are measured; ``paths`` are those of the report."""
        for each in list_undiagnosed(paths):
            return _join("report", each.run, "--diagnose")
        for run in self.unfinished:
            diagnose = _join("report", run, "--diagnose")
            if is_at_work(run):
                return f"{diagnose}  # once the run has ended"
            # The command of a run resumes what was interrupted, and trains anew where the weights were deleted.
            return f"{_read_command(run) or 'prefboost train RECIPE'} && {diagnose}"
        if self.reproduction is not None and self.cells:
            if any(list_undiagnosed(self.cells)):
                return _join("report", *self.cells, "--diagnose")
            # Weights of cells go once they are measured.
            repeat = self.repeat_reproduction("keep_models=true", name="kept")
            repeated = self.reproduction.with_name(f"{self.reproduction.name}-kept") / CELLS
            return f"{repeat} && {_join('report', *(repeated / each.name for each in self.cells), '--diagnose')}"
        policies = self.policies or ("POLICY",)
        out = self.home / "unlearning.json"
        return _join("diagnose", "unlearning", "SCORED", *policies, f"start={self.start}", "-o", out)

    def repeat_reproduction(self, *changes: str, name: str) -> str:
        """Write the command of the reproduction with other settings, which belong into a folder of their own."""
        assert self.reproduction is not None
        again = _read_command(self.reproduction) or "prefboost reproduce reward_augmented RECIPE"
        out = self.reproduction.with_name(f"{self.reproduction.name}-{name}")
        # Of an option that is given twice, the last one counts.
        return f"{again} {shlex.join([*changes, '-o', str(out)])}"


def _join(*words: str | Path) -> str:
    """Join the words of a command, quoted where a shell needs it."""
    return shlex.join(["prefboost", *map(str, words)])


def _read_command(run: Path) -> str | None:
    """Read the command of a run; None where it was no command of prefboost."""
    words = (read_json_file(run / MANIFEST) or {}).get("command") or [""]
    return _join(*words[1:]) if Path(words[0]).name == "prefboost" else None


def _compares(folder: Path) -> bool:
    """Tell whether a folder is that of a reproduction that compares policies."""
    return (read_json_file(folder / MANIFEST) or {}).get("name") == "reproduce"
