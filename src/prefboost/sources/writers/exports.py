"""Goal pairs in the shape that each trainer's own documentation asks for.

An export selects and renames columns of a conditioned `GOAL_PAIRS` frame and says which rows that trainer cannot take,
so that nothing is lost without a count. Shapes were taken from the pages named in ``documented_at``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from prefboost.errors import SettingsError
from prefboost.sources.messages.keys import is_read
from prefboost.sources.writers.file_types import FILE_TYPES

__all__ = [
    "COMPLETION_EXPORTS",
    "EXPORTS",
    "Export",
    "Refusal",
    "find_export",
    "has_read_extra",
    "has_white_ends",
    "select_role_and_content",
]

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
        usage: how the trainer is pointed at a folder: ``{path}``, its rows to train on ``{train}`` (a pattern), and
            the Polars function that scans them ``{scan}``.
        usage_of_file: the same for a single file ``{path}``, with the `datasets` builder ``{loader}`` of its type.
        usage_of_test: what is added where the folder has rows to test on, ``{test}``.
        refusals: rows that are set aside because the trainer would misread them.
        spreads_extra: whether a message's further keys (tool calls) can be spread out in JSON lines.
        companions: further files by name, e.g. the trainer's own description of the data, given the folder of the rows,
            or with ``folder_per_split`` the folder of each split.
        folder_per_split: whether several splits lie in folders of their own, since the trainer reads folders whole.
        endings: types of files that the trainer loads.
        endings_of_file: the same where it is given a single file.
        trims: whether white space at the ends of completions is cut off, since the trainer would lose the text.
    """

    name: str
    about: str
    documented_at: str
    select: Callable[[list[str]], list[pl.Expr]]
    usage: str
    usage_of_file: str
    usage_of_test: str = ""
    refusals: tuple[Refusal, ...] = ()
    spreads_extra: bool = True
    companions: Callable[[str | Mapping[str, str]], Mapping[str, str]] = field(default=lambda _: {})
    folder_per_split: bool = False
    endings: tuple[str, ...] = tuple(FILE_TYPES)
    endings_of_file: tuple[str, ...] = tuple(FILE_TYPES)
    trims: bool = False

    def refuse_ending(self, ending: str, *, single: bool) -> None:
        """Refuse a type of file that the trainer does not load.

        Raises:
            SettingsError: names those that it does.
        """
        taken = self.endings_of_file if single else self.endings
        if ending not in taken:
            also = " (or write a folder)" if single and ending in self.endings else ""
            raise SettingsError(
                f"{self.name} does not load .{ending} files",
                remedy=f"write {' or '.join(f'.{each}' for each in taken)}{also}",
            )


def find_export(name: str, exports: Mapping[str, Export] | None = None) -> Export:
    """Find the export of that name.

    Args:
        name: what ``format`` is set to.
        known: exports by name; None: those of goal pairs.

    Raises:
        SettingsError: there is none.
    """
    exports = EXPORTS if exports is None else exports
    if name not in exports:
        raise SettingsError(f"no export format {name!r}", remedy=f"one of: {', '.join(exports)}")
    return exports[name]


WHITE = "".join(chr(code) for code in range(0x3001) if chr(code).isspace())
"""White space as Python and the templates' ``trim`` understand it."""


def has_white_ends() -> pl.Expr:
    """Tell whether white space stands before or behind the text of a completion."""
    texts = [pl.col(side).list.last().struct.field("content") for side in ("chosen", "rejected")]
    return pl.any_horizontal([text != text.str.strip_chars(WHITE) for text in texts])


def has_read_extra(column: str) -> pl.Expr:
    """Tell whether any message of the row has more than its text, such as tool calls; notes do not count."""
    return pl.col(column).list.eval(is_read(pl.element().struct.field("extra"))).list.any()


def _select_facts(columns: list[str]) -> list[pl.Expr]:
    """Select scores, goals, ids and why completions ended, which trainers ignore unless asked."""
    scores = [name for name in columns if name.partition(".")[0] in ("score_chosen", "score_rejected", "goal")]
    return [pl.col(name) for name in (*scores, *IDS, *FINISH, "source", "split") if name in columns]


def select_role_and_content(column: str) -> pl.Expr:
    """Select messages without ``extra``: structs of role and content."""
    keys = [pl.element().struct.field("role"), pl.element().struct.field("content")]
    return pl.col(column).list.eval(pl.struct(keys))


def _compute_margin() -> pl.Expr:
    return (pl.col("distance_rejected") - pl.col("distance_chosen")).fill_null(0.0).alias("margin")


def _trim_last_message(column: str) -> pl.Expr:
    last = pl.col(column).list.last()
    content = last.struct.field("content").str.strip_chars(WHITE)
    return pl.struct(role=last.struct.field("role"), content=content).alias(column)


_SHAREGPT = {"system": "system", "user": "human", "assistant": "gpt", "tool": "observation"}


def _convert_to_sharegpt(column: str) -> pl.Expr:
    who = pl.element().struct.field("role").replace_strict(_SHAREGPT, return_dtype=pl.String)
    return pl.col(column).list.eval(pl.struct(who.alias("from"), pl.element().struct.field("content").alias("value")))


def _convert_last_to_sharegpt(column: str) -> pl.Expr:
    last = pl.col(column).list.last()
    who = last.struct.field("role").replace_strict(_SHAREGPT, return_dtype=pl.String)
    return pl.struct(who.alias("from"), last.struct.field("content").alias("value")).alias(column)


def _select_text(column: str) -> pl.Expr:
    return pl.col(column).list.last().struct.field("content").alias(column)


def _has_any_extra() -> pl.Expr:
    return pl.any_horizontal([has_read_extra(column) for column in SIDES])


def _has_several_messages() -> pl.Expr:
    return (pl.col("chosen").list.len() != 1) | (pl.col("rejected").list.len() != 1)


def _lacks_alternation() -> pl.Expr:
    """Tell whether user (or tool) and assistant turns, after the system message, do not alternate."""
    role = pl.element().struct.field("role")
    asks = role.filter(role != "system").is_in(["user", "tool"])
    odd = pl.int_range(pl.len()).filter(role != "system") - (role == "system").sum()
    return ~pl.col("prompt").list.eval(asks == (odd % 2 == 0)).list.all()


_ONLY_TEXT = Refusal("this trainer keeps only role and content of a message: tool calls would be lost", _has_any_extra)
_ONE_ANSWER = Refusal("this trainer takes one message as completion, not several", _has_several_messages)
_SAME_TRIMMED = Refusal(
    "chosen and rejected differ only in the white space at their ends, which this trainer's templates cut off",
    lambda: _select_text("chosen").str.strip_chars(WHITE) == _select_text("rejected").str.strip_chars(WHITE),
)
_TURNS = Refusal("this trainer needs user and assistant turns to alternate", _lacks_alternation)


def _shape_prefboost(columns: list[str]) -> list[pl.Expr]:
    return [pl.col(name) for name in columns]


def _shape_trl(columns: list[str]) -> list[pl.Expr]:
    return [*[select_role_and_content(column) for column in SIDES], *_select_facts(columns)]


def _shape_openrlhf(columns: list[str]) -> list[pl.Expr]:
    return [*[select_role_and_content(column) for column in SIDES], _compute_margin(), *_select_facts(columns)]


def _shape_axolotl(columns: list[str]) -> list[pl.Expr]:
    sides = [_trim_last_message(side) for side in ("chosen", "rejected")]
    return [select_role_and_content("prompt").alias("messages"), *sides, *_select_facts(columns)]


def _shape_llamafactory(columns: list[str]) -> list[pl.Expr]:
    prompt = _convert_to_sharegpt("prompt").alias("conversations")
    return [prompt, _convert_last_to_sharegpt("chosen"), _convert_last_to_sharegpt("rejected"), *_select_facts(columns)]


def _shape_verl(columns: list[str]) -> list[pl.Expr]:
    """Select the five documented fields, and the two completions as text for verl's reward-model data set."""
    source = pl.col("source").fill_null("prefboost") if "source" in columns else pl.lit("prefboost")
    split = pl.col("split").fill_null("train") if "split" in columns else pl.lit("train")
    facts = [each for each in _select_facts(columns) if each.meta.output_name() not in ("source", "split")]
    return [
        source.alias("data_source"),
        select_role_and_content("prompt"),
        pl.lit("alignment").alias("ability"),
        pl.struct(style=pl.lit("model"), ground_truth=_select_text("chosen")).alias("reward_model"),
        pl.struct(split.alias("split"), pl.col("row").alias("index"), *facts).alias("extra_info"),
        _select_text("chosen"),
        _select_text("rejected"),
    ]


def _shape_trl_completions(columns: list[str]) -> list[pl.Expr]:
    about = [name for name in columns if name.partition(".")[0] == "score"]
    about += [name for name in ("completion_id", "prompt_id", "finish_reason", "source", "split") if name in columns]
    return [
        select_role_and_content("prompt"),
        select_role_and_content("completion"),
        *(pl.col(name) for name in about),
    ]


def _build_dataset_entry(file_name: str) -> dict[str, Any]:
    return {
        "file_name": file_name,
        "formatting": "sharegpt",
        "ranking": True,
        "columns": {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"},
    }


def _build_dataset_info(data: str | Mapping[str, str]) -> dict[str, str]:
    """Build LLaMA-Factory's description: ``prefboost`` is what is trained on, other splits are named after theirs."""
    folders = {"train": data} if isinstance(data, str) else data
    first = "train" if "train" in folders else next(iter(folders))
    names = {split: "prefboost" if split == first else f"prefboost_{split}" for split in folders}
    entries = {names[split]: _build_dataset_entry(folder) for split, folder in folders.items()}
    return {"dataset_info.json": json.dumps(entries, indent=2) + "\n"}


_TRAIN_DPO = (
    "openrlhf.cli.train_dpo --dataset {path} --prompt_key prompt --chosen_key chosen --rejected_key rejected "
    "--apply_chat_template"
)

EXPORTS: dict[str, Export] = {
    "prefboost": Export(
        "prefboost",
        "Every column of the GoalPairs table.",
        "prefboost.tables.GOAL_PAIRS",
        _shape_prefboost,
        'pairs = polars.{scan}("{train}").collect().to_arrow()\n'
        'prefboost.training.train(pairs, prefboost.training.Train(model=...), pathlib.Path("RUN"))',
        'pairs = polars.{scan}("{path}").collect().to_arrow()\n'
        'prefboost.training.train(pairs, prefboost.training.Train(model=...), pathlib.Path("RUN"))',
    ),
    "trl": Export(
        "trl",
        "TRL's conversational preference rows with an explicit prompt: prompt, chosen, rejected as lists of messages.",
        "https://huggingface.co/docs/trl/dataset_formats#preference",
        _shape_trl,
        'DPOTrainer(train_dataset=load_dataset("{path}", split="train"), ...)',
        'DPOTrainer(train_dataset=load_dataset("{loader}", data_files="{path}", split="train"), ...)',
    ),
    "llamafactory": Export(
        "llamafactory",
        "LLaMA-Factory's sharegpt preference rows: conversations, chosen, rejected with from and value.",
        "https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md#preference-dataset-1",
        _shape_llamafactory,
        "llamafactory-cli train ... --stage dpo --dataset_dir {path} --dataset prefboost",
        "llamafactory-cli train ... --stage dpo --dataset_dir FOLDER --dataset prefboost\n\n"
        "FOLDER holds this file and a dataset_info.json with\n"
        f"{json.dumps({'prefboost': _build_dataset_entry('{path}')}, indent=2)}",
        " --eval_dataset prefboost_test",
        (_ONLY_TEXT, _ONE_ANSWER, _TURNS),
        spreads_extra=False,
        companions=_build_dataset_info,
        folder_per_split=True,
        endings=("parquet", "jsonl"),
        endings_of_file=("parquet", "jsonl"),
    ),
    "axolotl": Export(
        "axolotl",
        "Axolotl's chat_template.default rows: messages, and chosen and rejected as one message each, without white "
        "space at their ends.",
        "https://docs.axolotl.ai/docs/rlhf.html#chat_template.default",
        _shape_axolotl,
        "rl: dpo\ndatasets:\n  - path: {path}\n    split: train\n    type: chat_template.default",
        "rl: dpo\ndatasets:\n  - path: {path}\n    ds_type: {loader}\n    split: train\n"
        "    type: chat_template.default",
        refusals=(_ONLY_TEXT, _ONE_ANSWER, _SAME_TRIMMED),
        spreads_extra=False,
        trims=True,
    ),
    "openrlhf": Export(
        "openrlhf",
        "OpenRLHF's rows: prompt, chosen, rejected as lists of messages; margin is how much nearer the goal chosen is.",
        "https://github.com/OpenRLHF/OpenRLHF/blob/main/openrlhf/datasets/reward_dataset.py",
        _shape_openrlhf,
        _TRAIN_DPO,
        _TRAIN_DPO,
        endings_of_file=("parquet", "jsonl"),
    ),
    "verl": Export(
        "verl",
        "verl's five fields (data_source, prompt, ability, reward_model, extra_info), and chosen and rejected as text.",
        "https://verl.readthedocs.io/en/latest/preparation/prepare_data.html",
        _shape_verl,
        "'data.train_files={train}.parquet' data.prompt_key=prompt",
        "data.train_files={path} data.prompt_key=prompt",
        " 'data.val_files={test}.parquet'",
        (_ONLY_TEXT, _ONE_ANSWER),
        spreads_extra=False,
        endings=("parquet",),
        endings_of_file=("parquet",),
    ),
}
"""Every export by name."""

COMPLETION_EXPORTS: dict[str, Export] = {
    "prefboost": Export(
        "prefboost",
        "Every column of the table.",
        "prefboost.tables.SCORED_COMPLETIONS",
        _shape_prefboost,
        'prefboost.read("{path}")',
        'prefboost.read("{path}")',
    ),
    "trl": Export(
        "trl",
        "TRL's conversational prompt-completion rows: prompt and completion as lists of messages, to fine-tune on.",
        "https://huggingface.co/docs/trl/dataset_formats#prompt-completion",
        _shape_trl_completions,
        'SFTTrainer(train_dataset=load_dataset("{path}", split="train"), ...)',
        'SFTTrainer(train_dataset=load_dataset("{loader}", data_files="{path}", split="train"), ...)',
    ),
}
"""Exports of completions by name."""
