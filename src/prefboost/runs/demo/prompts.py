"""Writing prompts with four one-sided rules, as a source for recipes; the demo itself shares their topics alone."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Literal

import polars as pl
from pydantic import Field

from prefboost.scoring.rules.kinds import RULES, rules_json
from prefboost.scoring.rules.rule import Rule
from prefboost.settings import Settings
from prefboost.sources import Columns
from prefboost.tables import MESSAGES, PROMPTS, Step, Table, conform

__all__ = ["HELD_OUT_TOPICS", "TRAIN_TOPICS", "DemoPrompts", "draw_demo_prompts"]

_TOPICS = (
    "a lighthouse, the rain, a bicycle, coffee, an owl, a library, a train, a garden, the ocean, a robot, a "
    "volcano, bread, a piano, winter, a desert, a honeybee, a bridge, the moon, tea, a mountain, a kite, a river, "
    "an elephant, a camera, a market, a clock, an island, a forest, football, a castle, snow, chocolate, a cat, "
    "an airport, a violin, a museum, a farm, a storm, a penguin, a compass, a school, a candle, a dolphin, a "
    "harbour, a painting, a tomato, a spider, a telescope, soup, an umbrella, a tiger, a pencil, a glacier, the "
    "wind, a kitchen, a drum, a rose, a subway, sand, an eagle, a map, an apple, a theatre, a fox, a boat, a "
    "mirror, a wolf, cheese, a letter, a horse, a pillow, a carpet, a ladder, a lemon, a planet, a turtle, a "
    "window, a hammer, salt, a shark"
)
_SPLIT_AT = 60
TRAIN_TOPICS = tuple(_TOPICS.split(", ")[:_SPLIT_AT])
HELD_OUT_TOPICS = tuple(_TOPICS.split(", ")[_SPLIT_AT:])
"""No topic stands on both sides."""

_TASKS = (
    "Describe {topic}.",
    "Explain what {topic} is.",
    "Write a short note about {topic}.",
    "Tell me something about {topic}.",
    "What is special about {topic}?",
)
_WORDS = ("bright", "old", "quiet", "simple", "strange", "gentle")
_ENDINGS = ("That is all.", "The end.", "Thank you!", "Any questions?")


def _draw_rules(draw: random.Random) -> list[Rule]:
    drawn: dict[str, dict[str, object]] = {
        "at_most_words": {"count": draw.choice((12, 15, 20, 25))},
        "no_commas": {},
        "exact_sentences": {"count": draw.choice((1, 2))},
        "include_keyword": {"word": draw.choice(_WORDS)},
        "ends_with": {"phrase": draw.choice(_ENDINGS)},
    }
    return [RULES[kind](**drawn[kind]) for kind in draw.sample(sorted(drawn), 4)]


def draw_demo_prompts(count: int, topics: Sequence[str], *, seed: int) -> pl.DataFrame:
    """Draw prompts with four rules each.

    Args:
        count: how many.
        topics: TRAIN_TOPICS or HELD_OUT_TOPICS.
        seed: of the draw; the same seed gives the same prompts.

    Returns:
        Columns of PROMPTS, and ``rules``: the JSON list that the rules scorer reads.
    """
    draw = random.Random(seed)
    rows = []
    for row in range(count):
        rules = _draw_rules(draw)
        task = draw.choice(_TASKS).format(topic=draw.choice(list(topics)))
        text = " ".join([task, *(rule.say() for rule in rules)])
        rows.append(
            {
                "row": row,
                "prompt_id": f"demo-{seed}-{row:03d}",
                "prompt": [{"role": "user", "content": text, "extra": None}],
                "rules": rules_json(rules),
            }
        )
    return pl.DataFrame(rows, schema={"row": pl.Int64, "prompt_id": pl.String, "prompt": MESSAGES, "rules": pl.String})


class DemoPrompts(Settings):
    """Writing tasks with one-sided rules that code checks, as a source; held-out ones are on other topics."""

    kind: Literal["prefboost.runs.demo.prompts:DemoPrompts"] = Field(
        "prefboost.runs.demo.prompts:DemoPrompts", description="Name of this source in recipes."
    )
    train: int = Field(96, ge=1, description="Prompts to train on.")
    held_out: int = Field(32, ge=0, description="Prompts that are only measured on; none of their topics is trained.")
    seed: int = Field(1, ge=0, description="Seed of the training prompts; the held-out ones have the next.")

    def batches(self, columns: Columns, rows: int | None) -> Iterator[Table]:
        """Yield one table of Prompts with ``rules`` and ``split``; see `prefboost.sources.Source`."""
        parts = ((self.train, TRAIN_TOPICS, "train"), (self.held_out, HELD_OUT_TOPICS, "test"))
        frames = [
            draw_demo_prompts(count, topics, seed=self.seed + number).with_columns(split=pl.lit(split))
            for number, (count, topics, split) in enumerate(parts)
        ]
        frame = pl.concat(frames)
        step = Step("read", self.model_dump(), frame.height, frame.height)
        yield Table(PROMPTS, conform(frame, PROMPTS), steps=(step,))
