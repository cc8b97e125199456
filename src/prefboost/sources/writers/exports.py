"""Goal pairs in the shape that each trainer loads.

An export selects and renames columns of a conditioned `GOAL_PAIRS` frame and says which rows that trainer cannot take,
so that nothing is lost without a count. Shapes and usage lines were checked against the version in ``checked``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from prefboost.errors import SettingsError
from prefboost.sources.writers.file_types import FILE_TYPES
from prefboost.sources.writers.shapes import (
    ONE_ANSWER,
    ONLY_TEXT,
    SAME_TRIMMED,
    TURNS,
    Refusal,
    shape_axolotl,
    shape_llamafactory,
    shape_ms_swift,
    shape_nemo_rl,
    shape_open_instruct,
    shape_openrlhf,
    shape_prefboost,
    shape_tinker,
    shape_trl,
    shape_trl_completions,
)

__all__ = ["COMPLETION_EXPORTS", "EXPORTS", "WITHDRAWN", "Export", "find_export"]


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
        refusals: rows that are rejected because the trainer would misread them.
        spreads_extra: whether a message's further keys (tool calls) can be spread out in JSON lines.
        companions: further files by name, e.g. the trainer's own description of the data, given the folder of the rows,
            or with ``folder_per_split`` the folder of each split.
        folder_per_split: whether several splits lie in folders of their own, since the trainer reads folders whole.
        endings: types of files that the trainer loads.
        endings_of_file: the same where it is given a single file.
        trims: whether white space at the ends of completions is cut off, since the trainer would lose the text.
        checked: name and version of the trainer whose loader and parser have taken such files and such a usage line.
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
    checked: str = ""

    def refuse_ending(self, ending: str, *, single: bool) -> None:
        """Refuse a type of file that the trainer does not load.

        Raises:
            SettingsError: names those that it does.
        """
        taken = self.endings_of_file if single else self.endings
        if not taken:
            raise SettingsError(
                f"{self.name} reads one file, not a folder",
                remedy=f"write a single file: -o NAME.{self.endings_of_file[0]}",
            )
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
        exports: exports by name; None: those of goal pairs.

    Raises:
        SettingsError: there is none, or its trainer does not train on preference pairs.
    """
    exports = EXPORTS if exports is None else exports
    if name in WITHDRAWN:
        raise SettingsError(WITHDRAWN[name], remedy=f"write one of: {', '.join(exports)}")
    if name not in exports:
        raise SettingsError(f"no export format {name!r}", remedy=f"one of: {', '.join(exports)}")
    return exports[name]


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


_OPENRLHF = (
    # Its default of 512 tokens drops rows with longer prompts without a count.
    "deepspeed --module openrlhf.cli.train_dpo --data.dataset {path} --data.prompt_key prompt "
    "--data.chosen_key chosen --data.rejected_key rejected --data.apply_chat_template --data.max_len 4096"
)

_NEMO_RL = (
    "uv run examples/run_dpo.py data.train.dataset_name=PreferenceDataset +data.train.data_path={path} "
    "data.train.split=train"
)

_OPEN_INSTRUCT = "open_instruct/dpo.py --mixer_list {path} 1.0 --mixer_list_splits train"

_TINKER = """from tinker_cookbook.preference.dpo_datasets import DPODatasetBuilderFromComparisons
from tinker_cookbook.preference.preference_datasets import ComparisonBuilderFromJsonl

comparisons = ComparisonBuilderFromJsonl(train_path="{path}")
dataset_builder = DPODatasetBuilderFromComparisons(common_config=..., comparison_builder=comparisons)"""

WITHDRAWN = {
    "verl": "verl has no trainer for preference pairs: its trainers are online (PPO, GRPO) or supervised",
}
"""Trainers that people ask for and that cannot train on goal pairs -> why."""

EXPORTS: dict[str, Export] = {
    "prefboost": Export(
        "prefboost",
        "Every column of the GoalPairs table.",
        "prefboost.tables.GOAL_PAIRS",
        shape_prefboost,
        'pairs = polars.{scan}("{train}").collect().to_arrow()\n'
        'prefboost.training.train(pairs, prefboost.training.Train(model=...), pathlib.Path("RUN"))',
        'pairs = polars.{scan}("{path}").collect().to_arrow()\n'
        'prefboost.training.train(pairs, prefboost.training.Train(model=...), pathlib.Path("RUN"))',
    ),
    "trl": Export(
        "trl",
        "TRL's conversational preference rows with an explicit prompt: prompt, chosen, rejected as lists of messages.",
        "https://huggingface.co/docs/trl/dataset_formats#preference",
        shape_trl,
        'DPOTrainer(train_dataset=load_dataset("{path}", split="train"), ...)',
        'DPOTrainer(train_dataset=load_dataset("{loader}", data_files="{path}", split="train"), ...)',
        checked="TRL 1.16.0",
    ),
    "llamafactory": Export(
        "llamafactory",
        "LLaMA-Factory's sharegpt preference rows: conversations, chosen, rejected with from and value.",
        "https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md#preference-dataset-1",
        shape_llamafactory,
        "llamafactory-cli train ... --stage dpo --dataset_dir {path} --dataset prefboost",
        "llamafactory-cli train ... --stage dpo --dataset_dir FOLDER --dataset prefboost\n\n"
        "FOLDER holds this file and a dataset_info.json with\n"
        f"{json.dumps({'prefboost': _build_dataset_entry('{path}')}, indent=2)}",
        " --eval_dataset prefboost_test",
        (ONLY_TEXT, ONE_ANSWER, TURNS),
        spreads_extra=False,
        companions=_build_dataset_info,
        folder_per_split=True,
        endings=("parquet", "jsonl"),
        endings_of_file=("parquet", "jsonl"),
        checked="LLaMA-Factory 0.9.5",
    ),
    "axolotl": Export(
        "axolotl",
        "Axolotl's chat_template.default rows: messages, and chosen and rejected as one message each, without white "
        "space at their ends.",
        "https://docs.axolotl.ai/docs/rlhf.html#chat_template.default",
        shape_axolotl,
        "rl: dpo\ndatasets:\n  - path: {path}\n    split: train\n    type: chat_template.default",
        "rl: dpo\ndatasets:\n  - path: {path}\n    ds_type: {loader}\n    split: train\n"
        "    type: chat_template.default",
        refusals=(ONLY_TEXT, ONE_ANSWER, SAME_TRIMMED),
        spreads_extra=False,
        trims=True,
        checked="Axolotl 0.19.0",
    ),
    "openrlhf": Export(
        "openrlhf",
        "OpenRLHF's rows: prompt, chosen, rejected as lists of messages; margin is how much nearer the goal chosen is.",
        "https://github.com/OpenRLHF/OpenRLHF/blob/main/openrlhf/datasets/reward_dataset.py",
        shape_openrlhf,
        _OPENRLHF,
        _OPENRLHF,
        " --eval.dataset {path} --eval.split test",
        endings_of_file=("parquet", "jsonl"),
        checked="OpenRLHF 0.11.2",
    ),
    "ms-swift": Export(
        "ms-swift",
        "ms-swift's rows: messages and rejected_messages, two whole conversations.",
        "https://github.com/modelscope/ms-swift/blob/main/docs/source_en/Customization/Custom-dataset.md",
        shape_ms_swift,
        "swift rlhf --rlhf_type dpo --dataset {path}",
        "swift rlhf --rlhf_type dpo --dataset {path}",
        " --val_dataset {test}",
        (ONLY_TEXT,),
        spreads_extra=False,
        endings=("parquet", "jsonl"),
        endings_of_file=("parquet", "jsonl"),
        checked="ms-swift 4.6.0",
    ),
    "nemo-rl": Export(
        "nemo-rl",
        "NeMo RL's PreferenceDataset: context, and completions with rank under the goal and their own score as reward.",
        "https://github.com/NVIDIA-NeMo/RL/blob/main/docs/guides/dpo.md#datasets",
        shape_nemo_rl,
        _NEMO_RL,
        f"{_NEMO_RL} data.validation=null",
        " data.validation.dataset_name=PreferenceDataset +data.validation.data_path={path} data.validation.split=test",
        (ONLY_TEXT, ONE_ANSWER),
        spreads_extra=False,
        endings_of_file=("parquet", "jsonl"),
        checked="NeMo RL 0.7.0",
    ),
    "tinker": Export(
        "tinker",
        "tinker-cookbook's labelled comparisons: A is the completion that wins under the goal.",
        "https://github.com/thinking-machines-lab/tinker-cookbook/blob/main/tinker_cookbook/preference",
        shape_tinker,
        _TINKER,
        _TINKER,
        refusals=(ONLY_TEXT, ONE_ANSWER),
        spreads_extra=False,
        endings=(),
        endings_of_file=("jsonl",),
        checked="tinker-cookbook 0.6.1",
    ),
    "open-instruct": Export(
        "open-instruct",
        "Open Instruct's rows: chosen and rejected, two whole conversations that differ in their last message.",
        "https://github.com/allenai/open-instruct/blob/main/docs/algorithms/dpo.md",
        shape_open_instruct,
        _OPEN_INSTRUCT,
        _OPEN_INSTRUCT,
        refusals=(ONLY_TEXT, ONE_ANSWER),
        spreads_extra=False,
        endings_of_file=("parquet", "jsonl"),
        checked="Open Instruct 0.3.0",
    ),
}
"""Every export by name."""

COMPLETION_EXPORTS: dict[str, Export] = {
    "prefboost": Export(
        "prefboost",
        "Every column of the table.",
        "prefboost.tables.SCORED_COMPLETIONS",
        shape_prefboost,
        'prefboost.read("{path}")',
        'prefboost.read("{path}")',
    ),
    "trl": Export(
        "trl",
        "TRL's conversational prompt-completion rows: prompt and completion as lists of messages, to fine-tune on.",
        "https://huggingface.co/docs/trl/dataset_formats#prompt-completion",
        shape_trl_completions,
        'SFTTrainer(train_dataset=load_dataset("{path}", split="train"), ...)',
        'SFTTrainer(train_dataset=load_dataset("{loader}", data_files="{path}", split="train"), ...)',
    ),
}
"""Exports of completions by name."""
