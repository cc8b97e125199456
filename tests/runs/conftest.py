"""Scored data made by hand, for tests of runs."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def scored() -> Callable[..., Path]:
    """Writes scored completions of made-up prompts; prompt 3 is a tie, prompt 5 has impossible scores."""

    def made(path: Path, prompts: int = 40, **changed: Any) -> Path:
        draw = random.Random(0)
        with path.open("w", encoding="utf-8") as stream:
            for number in range(prompts):
                scores = draw.sample([1.0, 2.5, 4.0, 7.0, 8.5, 10.0], 3)
                scores = [6.0] * 3 if number == 3 else [99.0, 98.0, 97.0] if number == 5 else scores
                completions = [
                    {"response": f"answer {n} to {number}", "overall_score": s} for n, s in enumerate(scores)
                ]
                row = {"prompt_id": f"q{number}", "instruction": f"Question {number}?", "completions": completions}
                stream.write(json.dumps({**row, **changed}) + "\n")
        return path

    return made


@pytest.fixture(scope="session")
def contents() -> Callable[[Path], dict[str, bytes]]:
    """The bytes of every file below a folder, by relative path."""

    def found(folder: Path) -> dict[str, bytes]:
        return {
            str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
        }

    return found
