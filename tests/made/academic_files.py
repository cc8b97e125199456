"""Tiny files of every academic benchmark, in the columns that lm-evaluation-harness reads."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

COLOURS = ("red", "green", "blue", "white")


def write_academic_files(folder: Path, count: int = 4) -> Path:
    """Write ``TASK/SPLIT.jsonl`` of one task or more of each benchmark, with so many questions."""
    for (task, split), rows in build_academic_rows(count):
        (folder / task).mkdir(parents=True, exist_ok=True)
        (folder / task / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def build_academic_rows(count: int) -> Iterator[tuple[tuple[str, str], list[Mapping[str, Any]]]]:
    """Yield task, split and rows."""
    for split, rows in (("train", max(count, 6)), ("test", count)):
        sums = [(at + 2, at % 3 + 1) for at in range(rows)]
        yield (
            ("gsm8k", split),
            [{"question": f"{split}: {a} and {b}?", "answer": f"Add them.\n#### {a + b}"} for a, b in sums],
        )
    for split, rows in (("train", 25), ("validation", count), ("test", count)):
        yield (
            ("arc_challenge", split),
            [
                {
                    "id": f"{split}{at}",
                    "question": f"Which is colour {at}?",
                    "choices": {"text": [f"{colour} {at}" for colour in COLOURS], "label": list("ABCD")},
                    "answerKey": "ABCD"[at % 4],
                }
                for at in range(rows)
            ],
        )
    for size in ("diamond", "main"):
        yield (
            (f"leaderboard_gpqa_{size}", "train"),
            [
                {
                    "Question": f"What is {at} in {size}?",
                    "Correct Answer": f"yes {at}",
                    **{f"Incorrect Answer {wrong}": f"{COLOURS[wrong]} no" for wrong in (1, 2, 3)},
                }
                for at in range(count)
            ],
        )
    yield (
        ("leaderboard_musr_team_allocation", "team_allocation"),
        [
            {
                "narrative": f"Ann and Bob share {at} tasks.",
                "question": "Who does what?",
                "choices": str(["Ann all", "Bob all", "both"]),
                "answer_index": at % 3,
                "answer_choice": ["Ann all", "Bob all", "both"][at % 3],
            }
            for at in range(count)
        ],
    )
    yield (
        ("truthfulqa_mc2", "validation"),
        [
            {
                "question": f"Is ice {COLOURS[at % 4]}?",
                "mc1_targets": {"choices": ["No.", "Yes."], "labels": [1, 0]},
                "mc2_targets": {"choices": ["No.", "Never.", "Yes."][: 2 + at % 2], "labels": [1, 0, 0][: 2 + at % 2]},
            }
            for at in range(count)
        ],
    )
    for task, choices in (("boolean_expressions", ("False", "True")), ("sports_understanding", ("no", "yes"))):
        yield (
            (f"leaderboard_bbh_{task}", "test"),
            [{"input": f"not {at} is", "target": choices[at % 2]} for at in range(count)],
        )
