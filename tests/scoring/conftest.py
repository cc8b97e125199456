"""Tiny models on disk, and tables of completions and pairs for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from prefboost.tables import COMPLETIONS, MESSAGES, PREFERENCE_PAIRS, Table, conform


def said(role: str, text: str) -> list[dict[str, Any]]:
    return [{"role": role, "content": text, "extra": None}]


def completions_table(texts: list[tuple[str, str]]) -> Table:
    """Completions of (prompt, completion)."""
    rows = [
        {"row": at, "prompt_id": prompt, "prompt": said("user", prompt), "completion_id": f"c{at}",
         "completion": said("assistant", answer)}
        for at, (prompt, answer) in enumerate(texts)
    ]  # fmt: skip
    frame = pl.DataFrame(rows, schema_overrides={"prompt": MESSAGES, "completion": MESSAGES, "row": pl.Int64})
    return Table(COMPLETIONS, conform(frame, COMPLETIONS), path="made.jsonl")


def pairs_table(texts: list[tuple[str, str, str]]) -> Table:
    """Binary pairs of (prompt, chosen, rejected)."""
    rows = [
        {"row": at, "pair_id": f"p{at}", "prompt_id": prompt, "prompt": said("user", prompt),
         "chosen": said("assistant", best), "rejected": said("assistant", worst),
         "score_chosen": None, "score_rejected": None}
        for at, (prompt, best, worst) in enumerate(texts)
    ]  # fmt: skip
    types: dict[str, Any] = dict.fromkeys(("prompt", "chosen", "rejected"), MESSAGES)
    types |= {"score_chosen": pl.Float64, "score_rejected": pl.Float64, "row": pl.Int64}
    frame = pl.DataFrame(rows, schema_overrides=types)
    return Table(PREFERENCE_PAIRS, conform(frame, PREFERENCE_PAIRS), path="made.jsonl")


@pytest.fixture(scope="session")
def policies(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two language models with the same tokens and other weights."""
    from tests.training.conftest import build_folder

    folder = tmp_path_factory.mktemp("policies")
    return build_folder(folder / "policy", seed=1), build_folder(folder / "reference", seed=0)


@pytest.fixture(scope="session")
def judge_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A reward model with the given heads."""
    import torch
    from tests.training.conftest import build_folder

    from prefboost.engines.models.reward_model import load_reward_model

    made: dict[tuple[str, ...], Path] = {}

    def folder(*heads: str) -> Path:
        if heads not in made:
            place = tmp_path_factory.mktemp("judge")
            base = build_folder(place / "base")
            torch.manual_seed(0)
            found = load_reward_model(str(base), "float32", heads=heads)
            found.model.save_pretrained(place / "rm")
            found.tokenizer.save_pretrained(place / "rm")
            made[heads] = place / "rm"
        return made[heads]

    return folder
