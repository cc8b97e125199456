"""Writing tasks of the demo: what a prompt asks for, and the proxy rules that a policy is trained on."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

import polars as pl
from pydantic import Field

from prefboost.runs.demo.categories import HELD_OUT_CATEGORIES, TRAIN_CATEGORIES
from prefboost.runs.demo.prompts import HELD_OUT_TOPICS, TRAIN_TOPICS
from prefboost.scoring.rules.counts import AtMostWords, ExactSentences
from prefboost.scoring.rules.formats import NumberedList
from prefboost.scoring.rules.kinds import rules_json
from prefboost.scoring.rules.rule import Rule
from prefboost.scoring.rules.wording import IncludeKeyword
from prefboost.settings import Settings
from prefboost.tables import MESSAGES

__all__ = ["WritingTask", "draw_tasks"]

_NUMBERS = {1: "one", 2: "two", 3: "three", 4: "four"}
_KEYWORDS = ("bright", "old", "quiet", "simple", "strange", "gentle")
_LIST_SHARE = 0.2

_NUMBER = "|".join(_NUMBERS.values())
_PROMPT = re.compile(
    rf"Write (?:a numbered list of exactly (?P<items>{_NUMBER}) (?P<category>.+), "
    r"each with a few words that describe it"
    rf"|exactly (?P<sentences>{_NUMBER}) sentences? about (?P<topic>.+)), (?P<low>\d+) to (?P<high>\d+) words in all\. "
    r"Use the words? (?P<words>.+)\."
)


class WritingTask(Settings):
    """One writing task: some sentences about a topic, or a numbered list of members of a category."""

    subject: str = Field(description="The topic with its article, or a category of prefboost.runs.demo.categories.")
    is_list: bool = Field(False, description="Ask for a list, not sentences.")
    count: int = Field(ge=1, le=4, description="Sentences or items, exactly.")
    low: int = Field(ge=1, description="Fewest words of the whole answer.")
    high: int = Field(ge=1, description="Most words of the whole answer.")
    keywords: tuple[str, ...] = Field(min_length=1, description="Words to be used.")

    def write_prompt(self) -> str:
        """Return the prompt's text: it states everything that the gold score checks but repetition."""
        number, quoted = _NUMBERS[self.count], " and ".join(f'"{word}"' for word in self.keywords)
        use = f"Use the word{'s' if len(self.keywords) > 1 else ''} {quoted}."
        if self.is_list:
            return (
                f"Write a numbered list of exactly {number} {self.subject}, each with a few words that describe it, "
                f"{self.low} to {self.high} words in all. {use}"
            )
        sentences = "sentence" if self.count == 1 else "sentences"
        return f"Write exactly {number} {sentences} about {self.subject}, {self.low} to {self.high} words in all. {use}"

    @classmethod
    def from_prompt(cls, text: str) -> WritingTask | None:
        """Read the task that a prompt asks for; None where `write_prompt` did not write it."""
        match = _PROMPT.fullmatch(text)
        if match is None:
            return None
        counts = {name: count for count, name in _NUMBERS.items()}
        return cls(
            subject=match["category"] or match["topic"],
            is_list=match["category"] is not None,
            count=counts[match["items"] or match["sentences"]],
            low=int(match["low"]),
            high=int(match["high"]),
            keywords=tuple(re.findall('"(.+?)"', match["words"])),
        )

    def list_proxy_rules(self) -> list[Rule]:
        """List the rules of the proxy score: one-sided and blind to the subject, so that short text can keep them."""
        form = NumberedList(count=self.count) if self.is_list else ExactSentences(count=self.count)
        return [form, AtMostWords(count=self.high), *(IncludeKeyword(word=word) for word in self.keywords)]


def draw_tasks(count: int, *, seed: int, held_out: bool = False) -> pl.DataFrame:
    """Draw prompts with their tasks; no topic and no category of the held-out ones occurs among the others.

    Args:
        count: number of prompts.
        seed: of the draw; the same seed gives the same prompts.
        held_out: whether to draw of the held-out topics and categories.

    Returns:
        Columns of PROMPTS, ``rules`` (JSON, the proxy's) and ``task`` (JSON of a `WritingTask`, for the gold score).
    """
    topics, categories = (HELD_OUT_TOPICS, HELD_OUT_CATEGORIES) if held_out else (TRAIN_TOPICS, TRAIN_CATEGORIES)
    draw = random.Random(seed)
    side = "held-out" if held_out else "train"
    rows = []
    for row in range(count):
        task = _draw_task(draw, topics, categories)
        rows.append(
            {
                "row": row,
                "prompt_id": f"demo-{side}-{seed}-{row:03d}",
                "prompt": [{"role": "user", "content": task.write_prompt(), "extra": None}],
                "rules": rules_json(task.list_proxy_rules()),
                "task": task.model_dump_json(),
            }
        )
    return pl.DataFrame(rows, schema_overrides={"prompt": MESSAGES})


def _draw_task(draw: random.Random, topics: Sequence[str], categories: Sequence[str]) -> WritingTask:
    if draw.random() < _LIST_SHARE:
        low, high = draw.choice(((15, 30), (18, 36)))
        return WritingTask(
            subject=draw.choice(categories), is_list=True, count=3, low=low, high=high,
            keywords=tuple(draw.sample(_KEYWORDS, 1)),
        )  # fmt: skip
    count = draw.choice((1, 2))
    low, high = {1: (10, 20), 2: (16, 32)}[count]
    return WritingTask(
        subject=draw.choice(topics), count=count, low=low, high=high, keywords=tuple(draw.sample(_KEYWORDS, 2))
    )
