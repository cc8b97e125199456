"""Tables of JudgeArena: its own judges then compare the completions that were made here.

``judgearena`` below the benchmark's folder is a data folder of it (``JUDGEARENA_DATA``). Its task ``alpaca-eval`` reads
any prompts with one turn from there.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from prefboost.atomic import write_atomically
from prefboost.errors import SettingsError
from prefboost.evaluation.benchmark import BenchmarkPrompt
from prefboost.runs.evaluate.exports import Outcome

__all__ = ["TASK", "check_one_turn", "write_judge_arena"]

TASK = "alpaca-eval"
"""The task of JudgeArena whose tables hold an instruction and models' outputs, and nothing else."""


def check_one_turn(prompts: Sequence[BenchmarkPrompt]) -> None:
    """Check that JudgeArena's tables can hold what a benchmark asks, before anything is asked.

    Args:
        prompts: of the benchmark; none where it keeps no completions.

    Raises:
        SettingsError: prompts have several turns, or the benchmark keeps no completions.
    """
    if not prompts or any(len(prompt.turns) > 1 for prompt in prompts):
        fault = "this benchmark has prompts of several turns" if prompts else "this benchmark keeps no completions"
        raise SettingsError(
            f"JudgeArena's tables hold one completion per prompt, and {fault}",
            remedy="leave judgearena out of exports",
        )


def write_judge_arena(folder: Path, outcome: Outcome) -> None:
    """Write ``folder/judgearena``: instructions, completions of all models, and the prompts that are left out.

    A prompt that a model did not complete is left out for all of them, in ``left_out.csv``: JudgeArena would read an
    absent completion as an empty one, which loses.

    Args:
        folder: of the benchmark.
        outcome: what is written.
    """
    names = list(outcome.completions)
    lacking = {
        prompt.uid: [name for name in names if prompt.uid not in outcome.completions[name]]
        for prompt in outcome.prompts
    }
    complete = [prompt for prompt in outcome.prompts if not lacking[prompt.uid]]
    instructions = [(at, prompt.text, prompt.uid, prompt.category) for at, prompt in enumerate(complete)]
    outputs = [
        (at, name, outcome.completions[name][prompt.uid][0]) for name in names for at, prompt in enumerate(complete)
    ]
    left_out = [(uid, " ".join(missing)) for uid, missing in lacking.items() if missing]
    tables = folder / "judgearena" / "tables"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{TASK}.csv", _write_csv(("instruction_index", "model", "output"), outputs))
    write_atomically(
        tables / "instructions" / f"{TASK}.csv",
        _write_csv(("instruction_index", "instruction", "uid", "category"), instructions),
    )
    write_atomically(tables / "model_outputs" / f"{TASK}.csv.zip", packed.getvalue())
    write_atomically(folder / "judgearena" / "left_out.csv", _write_csv(("uid", "models without it"), left_out))


def _write_csv(names: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([names, *rows])
    return text.getvalue()
