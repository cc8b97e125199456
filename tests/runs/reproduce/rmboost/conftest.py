"""A tiny comparison: a stand-in engine, labelled pairs that are easy to tell apart, a random Llama."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from made_writer import Writer, by_hash

from prefboost.engines.engine import Sampling
from prefboost.runs.reproduce.rmboost.settings import RewardReproduction
from prefboost.scoring.judges.llm import LlmJudge
from prefboost.training import TrainReward


def write_pairs(path: Path, prompts: int = 40) -> Path:
    """Two labelled pairs of each prompt; the preferred completion is the shorter one."""
    lines = [
        {"prompt": f"question {at}", "chosen": f"river stone {side}", "rejected": f"a b {side} of a sea of a salt"}
        for at in range(prompts)
        for side in ("one", "two")
    ]  # fmt: skip
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def choose_first(prompt: str, choices: Any) -> list[float]:
    """Prefer the completion that comes first in the alphabet."""
    shown = [part.split("\n")[1] for part in prompt.split("<completion ")[1:3]]
    return [-0.1, -2.4] if shown[0] < shown[1] else [-2.4, -0.1]


def build_comparison(model: Path, data: Path, **changes: Any) -> RewardReproduction:
    writer = Writer.by(lambda prompt, sample: by_hash(prompt[-200:], sample))
    judge = LlmJudge(engine=Writer.by(weigh=choose_first, model="judge"), read="logprobs", ties=False)
    values: dict[str, Any] = {
        "data": str(data),
        "generator": writer,
        "judge": judge,
        "sampling": Sampling(max_tokens=16),
        "train": TrainReward(model=str(model), batch_size=4, precision="fp32", learning_rate=1e-3),
        "steps": 2,
        "seeds": (1, 2),
        "validation": 0.2,
        "test": 0.3,
        "base_pairs": 8,
        "n": 3,
    }
    return RewardReproduction(**{**values, **changes})
