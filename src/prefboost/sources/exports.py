"""Goal pairs in the shape that each trainer's own documentation asks for.

An export selects and renames columns of a conditioned `GOAL_PAIRS` frame and says which rows that trainer cannot take,
so that nothing is lost without a count. Shapes were taken from the pages named in ``documented_at``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import polars as pl

from prefboost.errors import SettingsError

__all__ = ["COMPLETION_EXPORTS", "EXPORTS", "Export", "Refusal", "export_named", "has_extra"]

SIDES = ("prompt", "chosen", "rejected")
FINISH = ("finish_chosen", "finish_rejected")
IDS = ("goal_pair_id", "pair_id", "prompt_id", "view", "flipped")


@dataclass(frozen=True)
class Refusal:
    """Rows that a trainer would misread: why, and the expression that finds them."""

    reason: str
    holds: Callable[[], pl.Expr]


@dataclass(frozen=True)
class Export:
    """One trainer's shape.

    Args:
        name: what ``format`` is set to.
        about: one sentence on the rows.
        documented_at: the page that documents the shape.
        select: the columns, given the names that the frame has.
        usage: how the trainer is pointed at the data; ``{path}`` is the folder or file, ``{data}`` that of the rows.
        refusals: rows that are set aside because the trainer would misread them.
        spreads_extra: whether a message's further keys (tool calls) can be spread out in JSON lines.
        companions: further files by name, e.g. the trainer's own description of the data.
    """

    name: str
    about: str
    documented_at: str
    select: Callable[[list[str]], list[pl.Expr]]
    usage: str
    refusals: tuple[Refusal, ...] = ()
    spreads_extra: bool = True
    companions: Callable[[str], Mapping[str, str]] = field(default=lambda _: {})


def export_named(name: str, known: Mapping[str, Export] | None = None) -> Export:
    """The export of that name.

    Args:
        name: what ``format`` is set to.
        known: exports by name; None: those of goal pairs.

    Raises:
        SettingsError: there is none.
    """
    known = EXPORTS if known is None else known
    if name not in known:
        raise SettingsError(f"no export format {name!r}", remedy=f"one of: {', '.join(known)}")
    return known[name]


def has_extra(column: str) -> pl.Expr:
    """Whether any message of the row has keys besides role and content."""
    return pl.col(column).list.eval(pl.element().struct.field("extra").is_not_null()).list.any()


def _about(columns: list[str]) -> list[pl.Expr]:
    """Scores, goals, ids and why completions ended: every trainer may ignore them and none has a use of its own."""
    scores = [name for name in columns if name.partition(".")[0] in ("score_chosen", "score_rejected", "goal")]
    return [pl.col(name) for name in (*scores, *IDS, *FINISH, "source", "split") if name in columns]


def _plain(column: str) -> pl.Expr:
    keys = [pl.element().struct.field("role"), pl.element().struct.field("content")]
    return pl.col(column).list.eval(pl.struct(keys))


def _margin() -> pl.Expr:
    return (pl.col("distance_rejected") - pl.col("distance_chosen")).fill_null(0.0).alias("margin")


def _last_message(column: str) -> pl.Expr:
    last = pl.col(column).list.last()
    return pl.struct(role=last.struct.field("role"), content=last.struct.field("content")).alias(column)


_SHAREGPT = {"system": "system", "user": "human", "assistant": "gpt", "tool": "observation"}


def _sharegpt_messages(column: str) -> pl.Expr:
    who = pl.element().struct.field("role").replace_strict(_SHAREGPT, return_dtype=pl.String)
    return pl.col(column).list.eval(pl.struct(who.alias("from"), pl.element().struct.field("content").alias("value")))


def _sharegpt_last(column: str) -> pl.Expr:
    last = pl.col(column).list.last()
    who = last.struct.field("role").replace_strict(_SHAREGPT, return_dtype=pl.String)
    return pl.struct(who.alias("from"), last.struct.field("content").alias("value")).alias(column)


def _text(column: str) -> pl.Expr:
    return pl.col(column).list.last().struct.field("content").alias(column)


def _any_extra() -> pl.Expr:
    return pl.any_horizontal([has_extra(column) for column in SIDES])


def _several_messages() -> pl.Expr:
    return (pl.col("chosen").list.len() != 1) | (pl.col("rejected").list.len() != 1)


def _no_alternation() -> pl.Expr:
    """User (or tool) turns must stand in odd places and assistant turns in even ones, after the system message."""
    role = pl.element().struct.field("role")
    asks = role.filter(role != "system").is_in(["user", "tool"])
    odd = pl.int_range(pl.len()).filter(role != "system") - (role == "system").sum()
    return ~pl.col("prompt").list.eval(asks == (odd % 2 == 0)).list.all()


_ONLY_TEXT = Refusal("this trainer keeps only role and content of a message: tool calls would be lost", _any_extra)
_ONE_ANSWER = Refusal("this trainer takes one message as completion, not several", _several_messages)
_TURNS = Refusal("this trainer needs user and assistant turns to alternate", _no_alternation)


def _prefboost(columns: list[str]) -> list[pl.Expr]:
    return [pl.col(name) for name in columns]


def _trl(columns: list[str]) -> list[pl.Expr]:
    return [*[_plain(column) for column in SIDES], *_about(columns)]


def _openrlhf(columns: list[str]) -> list[pl.Expr]:
    return [*[_plain(column) for column in SIDES], _margin(), *_about(columns)]


def _axolotl(columns: list[str]) -> list[pl.Expr]:
    return [_plain("prompt").alias("messages"), _last_message("chosen"), _last_message("rejected"), *_about(columns)]


def _llamafactory(columns: list[str]) -> list[pl.Expr]:
    prompt = _sharegpt_messages("prompt").alias("conversations")
    return [prompt, _sharegpt_last("chosen"), _sharegpt_last("rejected"), *_about(columns)]


def _verl(columns: list[str]) -> list[pl.Expr]:
    """The five documented fields, and the two completions as text for its reward-model data set."""
    source = pl.col("source").fill_null("prefboost") if "source" in columns else pl.lit("prefboost")
    split = pl.col("split").fill_null("train") if "split" in columns else pl.lit("train")
    known = [each for each in _about(columns) if each.meta.output_name() not in ("source", "split")]
    return [
        source.alias("data_source"),
        _plain("prompt"),
        pl.lit("alignment").alias("ability"),
        pl.struct(style=pl.lit("model"), ground_truth=_text("chosen")).alias("reward_model"),
        pl.struct(split.alias("split"), pl.col("row").alias("index"), *known).alias("extra_info"),
        _text("chosen"),
        _text("rejected"),
    ]


def _trl_completions(columns: list[str]) -> list[pl.Expr]:
    about = [name for name in columns if name.partition(".")[0] == "score"]
    about += [name for name in ("completion_id", "prompt_id", "finish_reason", "source", "split") if name in columns]
    return [_plain("prompt"), _plain("completion"), *(pl.col(name) for name in about)]


def _dataset_info(data: str) -> dict[str, str]:
    entry = {
        "file_name": data,
        "formatting": "sharegpt",
        "ranking": True,
        "columns": {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"},
    }
    return {"dataset_info.json": json.dumps({"prefboost": entry}, indent=2) + "\n"}


EXPORTS: dict[str, Export] = {
    "prefboost": Export(
        "prefboost",
        "Every column of the GoalPairs table.",
        "prefboost.tables.GOAL_PAIRS",
        _prefboost,
        'prefboost.training.train(pyarrow.parquet.read_table("{data}"), prefboost.training.Train(model=...), "RUN")',
    ),
    "trl": Export(
        "trl",
        "TRL's conversational preference rows with an explicit prompt: prompt, chosen, rejected as lists of messages.",
        "https://huggingface.co/docs/trl/dataset_formats#preference",
        _trl,
        'DPOTrainer(train_dataset=load_dataset("{path}", split="train"), ...)',
    ),
    "llamafactory": Export(
        "llamafactory",
        "LLaMA-Factory's sharegpt preference rows: conversations, chosen, rejected with from and value.",
        "https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md#preference-dataset-1",
        _llamafactory,
        "llamafactory-cli train ... --stage dpo --dataset_dir {path} --dataset prefboost",
        (_ONLY_TEXT, _ONE_ANSWER, _TURNS),
        spreads_extra=False,
        companions=_dataset_info,
    ),
    "axolotl": Export(
        "axolotl",
        "Axolotl's chat_template.default rows: messages, and chosen and rejected as one message each.",
        "https://docs.axolotl.ai/docs/rlhf.html#chat_template.default",
        _axolotl,
        "rl: dpo\ndatasets:\n  - path: {path}\n    split: train\n    type: chat_template.default",
        (_ONLY_TEXT, _ONE_ANSWER),
        spreads_extra=False,
    ),
    "openrlhf": Export(
        "openrlhf",
        "OpenRLHF's rows: prompt, chosen, rejected as lists of messages; margin is how much nearer the goal chosen is.",
        "https://github.com/OpenRLHF/OpenRLHF/blob/main/openrlhf/datasets/reward_dataset.py",
        _openrlhf,
        "openrlhf.cli.train_dpo --dataset {path} --prompt_key prompt --chosen_key chosen --rejected_key rejected "
        "--apply_chat_template",
    ),
    "verl": Export(
        "verl",
        "verl's five fields (data_source, prompt, ability, reward_model, extra_info), and chosen and rejected as text.",
        "https://verl.readthedocs.io/en/latest/preparation/prepare_data.html",
        _verl,
        "data.train_files={data} data.prompt_key=prompt",
        (_ONLY_TEXT, _ONE_ANSWER),
        spreads_extra=False,
    ),
}
"""Every export by name."""

COMPLETION_EXPORTS: dict[str, Export] = {
    "prefboost": Export(
        "prefboost",
        "Every column of the table.",
        "prefboost.tables.SCORED_COMPLETIONS",
        _prefboost,
        'prefboost.read("{data}")',
    ),
    "trl": Export(
        "trl",
        "TRL's conversational prompt-completion rows: prompt and completion as lists of messages, to fine-tune on.",
        "https://huggingface.co/docs/trl/dataset_formats#prompt-completion",
        _trl_completions,
        'SFTTrainer(train_dataset=load_dataset("{path}", split="train"), ...)',
    ),
}
"""Exports of completions by name."""
