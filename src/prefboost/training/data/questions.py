"""Rows that ask the same question, whatever ids they bear: a prompt is its content."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

import pyarrow as pa

from prefboost.chat import SayGoal
from prefboost.training.data.row_goals import render_row_goal

__all__ = ["settle_prompt_ids"]

_ROWS_AT_ONCE = 512


def settle_prompt_ids(pairs: pa.Table, say: SayGoal | None) -> pa.Table:
    """Give all rows of one question one ``prompt_id``, so that no split by prompt parts them.

    Rows belong together where they bear the same id or have the same prompt, the goal's text left out. Ids that agree
    with the prompts stay what they are.

    Args:
        pairs: GoalPairs, conditioned or not; or other rows with a prompt. Without prompts they stay as they are.
        say: how the goals were said; None: in the published wording, if at all.

    Returns:
        the pairs; of several ids of a question, the first in the order of the alphabet stands for all.
    """
    if not {"prompt", "prompt_id"} <= set(pairs.column_names):
        return pairs
    links = _Links()
    ids: list[str] = []
    first: dict[bytes, str] = {}
    # Two passes: an id can be joined with another one by any later row.
    for row in _iterate_rows(pairs):
        prompt_id = str(row["prompt_id"])
        ids.append(prompt_id)
        text = render_row_goal(row, say or SayGoal())
        turns = []
        for message in row["prompt"]:
            content = str(message["content"])
            # Goals differ between views of one question, so the question is what remains without them. Only the white
            # space that parts a goal from the text beside it goes with it.
            rest = content.replace(text, "", 1).strip() if text and text in content else content.strip()
            # A system message that held nothing but the goal is no part of the question.
            if rest or message["role"] != "system":
                turns.append((message["role"], rest, message.get("extra")))
        # 16 bytes per row, where the texts themselves would fill memory.
        question = blake2b(repr(turns).encode(), digest_size=16).digest()
        links.join(prompt_id, first.setdefault(question, prompt_id))
    settled = pa.array([links.find(prompt_id) for prompt_id in ids], pa.string())
    return pairs.set_column(pairs.column_names.index("prompt_id"), "prompt_id", settled)


def _iterate_rows(pairs: pa.Table) -> Iterator[dict[str, Any]]:
    names = [name for name in pairs.column_names if name in ("prompt_id", "prompt") or name.partition(".")[0] == "goal"]
    for batch in pairs.select(names).to_batches(max_chunksize=_ROWS_AT_ONCE):
        yield from batch.to_pylist()


class _Links:
    """Ids that stand for one another (union-find)."""

    def __init__(self) -> None:
        self.parent: dict[str, str] = {}

    def find(self, name: str) -> str:
        """Find the id that stands for all that are joined with this one."""
        root = name
        while (above := self.parent.setdefault(root, root)) != root:
            root = above
        # Path compression: later look-ups of the same ids take one step.
        while self.parent[name] != root:
            self.parent[name], name = root, self.parent[name]
        return root

    def join(self, first_id: str, second_id: str) -> None:
        """Let the ids stand for one another."""
        # The smaller id stands for both, so that the result does not depend on the order of rows.
        first, second = sorted((self.find(first_id), self.find(second_id)))
        self.parent[second] = first
