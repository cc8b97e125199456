"""A tiny reproduction: a random Llama, made-up scored completions, a short wording."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from tests.training.conftest import WORDS, build_folder

from prefboost.recipes.documents import Document, parse
from prefboost.recipes.validate import validate
from prefboost.runs.reproduce.settings import Reproduction


def write_scored(path: Path, prompts: int = 24) -> Path:
    """Three scored completions for each of some prompts; the score is the number of words, and so is an aspect's."""
    rng = random.Random(5)
    lines = []
    for number in range(prompts):
        for length in rng.sample(range(1, 10), 3):
            text = " ".join(rng.choice(WORDS) for _ in range(length))
            scores = {"score": float(length), "size": float(length), "calm": float(10 - length)}
            lines.append({"prompt": f"question {number}", "completion": text, **scores})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def build_settings(
    model: Path, data: Path, *, relabel: dict[str, Any] | None = None, loss: Any = "dpo", **changes: Any
) -> Reproduction:
    recipe = f"""
name: tiny
data: {{kind: file, path: {json.dumps(str(data))}, columns: {{aspects: [size, calm]}}}}
scale: {{kind: declared, low: 1, high: 10}}
pair: all_pairs
condition: {{place: user, wording: "Words{{% if goal is not none %}} {{{{ goal }}}}{{% endif %}}\\
{{% for name, value in aspects.items() %}} {{{{ name }}}} {{{{ value }}}}{{% endfor %}}."}}
train: {{model: {json.dumps(str(model))}, batch_size: 8, learning_rate: 1.0e-3, precision: fp32,
        max_length: 200, max_prompt_length: 150}}
"""
    values = {
        "recipe": {
            **(document := parse(recipe).values),
            "relabel": {"kind": "reward_augmented", **(relabel or {})},
            "train": {**document["train"], "loss": loss},
        },
        "arms": ["dpo", "ra"],
        "seeds": [1, 2],
        "betas": [0.1],
        "steps": 2,
        "good": 0.3,
        "validation": 0.25,
        "test": 0.25,
        "sampling": {"max_tokens": 6},
    }
    return validate(Reproduction, Document({**values, **changes}))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_folder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def scored(tmp_path: Path) -> Path:
    return write_scored(tmp_path / "scored.jsonl")
