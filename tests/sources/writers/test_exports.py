"""Each export is loaded as the trainer's own documentation says that its data look."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, model_validator

from prefboost.errors import SettingsError
from prefboost.sources.write import shape, write
from prefboost.sources.writers.exports import COMPLETION_EXPORTS, EXPORTS, find_export
from prefboost.sources.writers.file_types import FILE_TYPES
from prefboost.tables import MESSAGES


class RoleContent(BaseModel):
    """A chat message, https://huggingface.co/docs/trl/dataset_formats#conversational."""

    model_config = ConfigDict(extra="forbid")
    role: Literal["system", "user", "assistant", "tool"]
    content: str


class FromValue(BaseModel):
    """A sharegpt message, https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md#sharegpt-format."""

    model_config = ConfigDict(populate_by_name=False, extra="forbid")
    value: str
    said_by: Literal["system", "human", "gpt", "observation", "function_call"]

    @model_validator(mode="before")
    @classmethod
    def _from(cls, record: dict[str, Any]) -> dict[str, Any]:
        return {"said_by" if key == "from" else key: value for key, value in record.items()}


class Conversational(BaseModel):
    """TRL's preference rows with an explicit prompt, https://huggingface.co/docs/trl/dataset_formats#preference."""

    prompt: list[RoleContent]
    chosen: list[RoleContent]
    rejected: list[RoleContent]


class LlamaFactoryRow(BaseModel):
    """Sharegpt preference rows: turns alternate (data/README.md, and the sharegpt converter), odd in number."""

    conversations: list[FromValue]
    chosen: FromValue
    rejected: FromValue

    @model_validator(mode="after")
    def _alternates(self) -> LlamaFactoryRow:
        turns = [message.said_by for message in self.conversations]
        turns = turns[1:] if turns[0] == "system" else turns
        assert len(turns) % 2 == 1
        assert all(turn in ("human", "observation") for turn in turns[::2])
        assert all(turn in ("gpt", "function_call") for turn in turns[1::2])
        assert self.chosen.said_by == self.rejected.said_by == "gpt"
        return self


class AxolotlRow(BaseModel):
    """type: chat_template.default, https://docs.axolotl.ai/docs/rlhf.html#chat_template.default."""

    messages: list[RoleContent]
    chosen: RoleContent
    rejected: RoleContent


class OpenRlhfRow(Conversational):
    """``preprocess_data`` with a chat template: ``data[prompt_key] + data[chosen_key]`` are lists of messages,
    ``margin`` is a number (openrlhf/datasets/reward_dataset.py)."""

    margin: float


class SwiftRow(BaseModel):
    """Two whole conversations (docs/source_en/Customization/Custom-dataset.md, rejected_messages)."""

    messages: list[RoleContent]
    rejected_messages: list[RoleContent]

    @model_validator(mode="after")
    def _shares_the_prompt(self) -> SwiftRow:
        assert self.messages[:-1] == self.rejected_messages[:-1] and self.messages != self.rejected_messages
        return self


class RankedCompletion(BaseModel):
    rank: int
    reward: float
    completion: list[RoleContent]


class NemoRow(BaseModel):
    """PreferenceDataset (docs/guides/dpo.md): two completions, of which the lower rank is preferred."""

    context: list[RoleContent]
    completions: list[RankedCompletion]

    @model_validator(mode="after")
    def _ranks(self) -> NemoRow:
        assert [each.rank for each in self.completions] == [0, 1]
        return self


class ComparisonPart(BaseModel):
    model_config = ConfigDict(extra="forbid")
    prompt_conversation: list[RoleContent]
    completion_A: list[RoleContent]
    completion_B: list[RoleContent]


class TinkerRow(BaseModel):
    """ComparisonBuilderFromJsonl (tinker_cookbook/preference/preference_datasets.py): a comparison and its label."""

    comparison: ComparisonPart
    label: Literal["A", "B", "Tie"]


class OpenInstructRow(BaseModel):
    """``preference_tulu_tokenize_and_truncate_v1``: whole conversations of which only the last message differs."""

    chosen: list[RoleContent]
    rejected: list[RoleContent]

    @model_validator(mode="after")
    def _differs_in_the_last_message(self) -> OpenInstructRow:
        assert self.chosen[:-1] == self.rejected[:-1] and self.chosen[-1] != self.rejected[-1]
        return self


SCHEMAS: dict[str, type[BaseModel]] = {
    "trl": Conversational,
    "llamafactory": LlamaFactoryRow,
    "axolotl": AxolotlRow,
    "openrlhf": OpenRlhfRow,
    "ms-swift": SwiftRow,
    "nemo-rl": NemoRow,
    "tinker": TinkerRow,
    "open-instruct": OpenInstructRow,
}


def rows_of(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        return pl.read_parquet(path).to_dicts()
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
@pytest.mark.parametrize("name", SCHEMAS)
def test_every_row_is_of_the_shape_that_the_trainer_documents(
    name: str, ending: str, tmp_path: Path, goal_table: Callable[..., Any]
) -> None:
    out = tmp_path / f"data.{ending}"
    if ending not in EXPORTS[name].endings_of_file:
        with pytest.raises(SettingsError, match=f"{name} does not load .{ending} files"):
            write(goal_table(3), out, format=name)
        return
    write(goal_table(3), out, format=name)
    rows = rows_of(out)
    assert len(rows) == 6
    for row in rows:
        SCHEMAS[name].model_validate(row)


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_trainer_is_told_the_same_winner_under_the_same_goal(name: str, goal_table: Callable[..., Any]) -> None:
    frame = shape(goal_table(1).frame, EXPORTS[name], FILE_TYPES["jsonl"]).frame
    winners = {
        "ms-swift": lambda row: row["messages"],
        "nemo-rl": lambda row: row["completions"][0]["completion"],
        "tinker": lambda row: row["comparison"][f"completion_{row['label']}"],
    }
    texts = [_text(winners.get(name, lambda row: row["chosen"])(row)) for row in frame.to_dicts()]
    assert texts == ["good 0", "bad 0"]
    prompts = [json.dumps({key: value for key, value in row.items() if key != "goal"}) for row in frame.to_dicts()]
    assert "Overall score: 7." in prompts[0]
    assert "Overall score: 3." in prompts[1]


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_trainer_is_told_which_completions_were_cut(name: str, goal_table: Callable[..., Any]) -> None:
    ends = {"finish_chosen": pl.Series(["length", "stop"]), "finish_rejected": pl.Series(["stop", "length"])}
    rows = shape(goal_table(1).frame.with_columns(**ends), EXPORTS[name], FILE_TYPES["jsonl"]).frame.to_dicts()
    assert [(row["finish_chosen"], row["finish_rejected"]) for row in rows] == [("length", "stop"), ("stop", "length")]
    for row in rows:
        SCHEMAS[name].model_validate(row)


def _text(completion: Any) -> str:
    last = completion[-1] if isinstance(completion, list) else completion
    return str(last) if isinstance(last, str) else str(last.get("content") or last.get("value"))


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_trl_takes_the_rows_as_conversational_with_their_own_prompt(
    ending: str, tmp_path: Path, goal_table: Callable[..., Any]
) -> None:
    datasets = pytest.importorskip("datasets")
    data_utils = pytest.importorskip("trl.data_utils")
    out = tmp_path / f"data.{ending}"
    write(goal_table(2), out, format="trl")
    loader = "parquet" if ending == "parquet" else "json"
    loaded = datasets.load_dataset(loader, data_files=str(out), split="train", cache_dir=str(tmp_path / "cache"))
    assert len(loaded) == 4
    for row in loaded:
        assert data_utils.is_conversational(row)
        taken = data_utils.maybe_extract_prompt(row)
        assert [message["role"] for message in taken["prompt"]] == ["system", "user"]
        assert taken["chosen"] == row["chosen"]
        assert set(taken["prompt"][0]) == {"role", "content"}


def test_tool_calls_reach_trl_in_json_lines_and_are_counted_rejects_in_parquet(
    tmp_path: Path, goal_row: Callable[..., Any], goal_table: Callable[..., Any]
) -> None:
    calls = [{"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}]
    asked = {"role": "assistant", "content": "", "extra": json.dumps({"tool_calls": calls})}
    answer = {"role": "tool", "content": "1", "extra": None}
    plain = goal_row(1)
    table = goal_table([goal_row(0, prompt=[*plain["prompt"], asked, answer]), plain])
    written = write(table, tmp_path / "data.jsonl", format="trl")
    assert written.rejects.is_empty()
    first, second = rows_of(tmp_path / "data.jsonl")
    assert first["prompt"][2]["tool_calls"] == calls
    assert second["prompt"] == [{"role": m["role"], "content": m["content"]} for m in plain["prompt"]]
    written = write(table, tmp_path / "data.parquet", format="trl")
    assert written.rejects["reason"].to_list() == [
        "tool calls and other keys of messages need JSON lines in format trl (file_type=jsonl)"
    ]
    assert len(rows_of(tmp_path / "data.parquet")) == 1


@pytest.mark.parametrize("name", ["axolotl", "llamafactory", "nemo-rl", "tinker", "open-instruct"])
def test_what_a_trainer_would_drop_unseen_is_a_counted_reject(
    name: str, goal_row: Callable[..., Any], goal_table: Callable[..., Any]
) -> None:
    tools = {"role": "assistant", "content": "", "extra": '{"tool_calls": [{"function": {"name": "f"}}]}'}
    long = [{"role": "assistant", "content": word, "extra": None} for word in ("one", "two")]
    rows = [goal_row(0, chosen=[tools]), goal_row(1, chosen=long), goal_row(2)]
    shaped = shape(goal_table(rows).frame, EXPORTS[name], FILE_TYPES["jsonl"])
    assert shaped.frame.height == 1
    assert shaped.rejects["id"].to_list() == ["p0/chosen", "p1/chosen"]
    assert shaped.rejects["reason"].n_unique() == 2


@given(st.lists(st.sampled_from(["user", "assistant", "tool"]), min_size=0, max_size=6), st.booleans())
def test_llamafactory_gets_exactly_the_prompts_whose_turns_alternate(roles: list[str], has_system: bool) -> None:
    turns = [*(["system"] if has_system else []), *roles, "user"]
    frame = pl.DataFrame(
        {"prompt": [[{"role": role, "content": "x", "extra": None} for role in turns]]}, schema={"prompt": MESSAGES}
    )
    refused = frame.select(EXPORTS["llamafactory"].refusals[2].holds()).item()
    spoken = [*roles, "user"]
    alternates = all((role != "assistant") == (place % 2 == 0) for place, role in enumerate(spoken))
    assert refused is not alternates


def test_llamafactory_gets_the_description_that_names_its_columns() -> None:
    described = json.loads(EXPORTS["llamafactory"].companions("data")["dataset_info.json"])["prefboost"]
    assert described["formatting"] == "sharegpt"
    assert described["ranking"] is True
    assert described["columns"] == {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"}
    assert described["file_name"] == "data"


def test_the_margin_that_openrlhf_trains_on_is_never_negative(goal_table: Callable[..., Any]) -> None:
    margins = shape(goal_table(2).frame, EXPORTS["openrlhf"], FILE_TYPES["parquet"]).frame["margin"]
    assert margins.to_list() == [4.0] * 4


def test_an_unknown_format_names_those_there_are() -> None:
    with pytest.raises(SettingsError, match="one of: prefboost, trl, llamafactory, axolotl, openrlhf, ms-swift"):
        find_export("trlx")


def test_a_trainer_without_preference_training_is_refused_with_those_to_use() -> None:
    with pytest.raises(SettingsError, match=r"(?s)verl has no trainer for preference pairs.*write one of: .*trl"):
        find_export("verl")


FLAGS = {
    # openrlhf/cli/train_dpo.py of 0.11.2
    "openrlhf": {"--module", "--data.dataset", "--data.prompt_key", "--data.chosen_key", "--data.rejected_key",
                 "--data.apply_chat_template", "--data.max_len", "--eval.dataset", "--eval.split"},
    # swift/arguments of 4.6.0, llamafactory/hparams of 0.9.5, open_instruct of 0.3.0
    "ms-swift": {"--rlhf_type", "--dataset", "--val_dataset"},
    "llamafactory": {"--stage", "--dataset_dir", "--dataset", "--eval_dataset"},
    "open-instruct": {"--mixer_list", "--mixer_list_splits"},
}  # fmt: skip


@pytest.mark.parametrize("name", FLAGS)
def test_usage_lines_use_flags_of_the_version_that_was_checked(name: str) -> None:
    export = EXPORTS[name]
    lines = f"{export.usage} {export.usage_of_test} {export.usage_of_file}"
    assert {word for word in lines.split() if word.startswith("--")} == FLAGS[name]


def test_every_trainer_names_the_version_that_was_checked() -> None:
    for name, export in EXPORTS.items():
        assert bool(re.fullmatch(r".+ \d+\.\d+\.\d+", export.checked)) is (name != "prefboost")


def test_nemo_rl_keeps_the_scores_as_rewards(goal_table: Callable[..., Any]) -> None:
    rows = shape(goal_table(1).frame, EXPORTS["nemo-rl"], FILE_TYPES["jsonl"]).frame["completions"].to_list()
    assert [[(each["rank"], each["reward"]) for each in row] for row in rows] == [
        [(0, 7.0), (1, 3.0)],
        [(0, 3.0), (1, 7.0)],
    ]


def test_a_trainer_that_reads_one_file_gets_no_folder() -> None:
    with pytest.raises(SettingsError, match=r"(?s)tinker reads one file, not a folder.*-o NAME.jsonl"):
        EXPORTS["tinker"].refuse_ending("jsonl", single=False)


def test_completions_have_formats_of_their_own() -> None:
    assert list(COMPLETION_EXPORTS) == ["prefboost", "trl"]
    with pytest.raises(SettingsError, match=r"one of: prefboost, trl$"):
        find_export("axolotl", COMPLETION_EXPORTS)
    columns = ["row", "prompt_id", "prompt", "completion_id", "completion", "score", "score.wit", "finish_reason"]
    assert [each.meta.output_name() for each in COMPLETION_EXPORTS["trl"].select(columns)] == [
        "prompt", "completion", "score", "score.wit", "completion_id", "prompt_id", "finish_reason",
    ]  # fmt: skip


SPACES = st.text(st.sampled_from(" \n\t\r\u00a0\u2003"), max_size=3)


@given(SPACES, st.text(st.sampled_from("XY \n"), min_size=1).filter(str.strip), SPACES)
def test_axolotl_finds_every_completion_in_a_trimmed_rendering(left: str, text: str, right: str) -> None:
    sides = {"prompt": "q", "chosen": left + text + right, "rejected": "another"}
    roles = {"prompt": "user", "chosen": "assistant", "rejected": "assistant"}
    frame = pl.DataFrame(
        {side: [[{"role": roles[side], "content": sides[side], "extra": None}]] for side in sides},
        schema=dict.fromkeys(sides, MESSAGES),
    )
    shaped = shape(frame, EXPORTS["axolotl"], FILE_TYPES["jsonl"])
    content = shaped.frame["chosen"][0]["content"]
    # chat_template.default cuts the rendered text at the place where it finds the content (-1 where it does not).
    assert f"<|assistant|>{sides['chosen'].strip()}<|end|>".find(content) == len("<|assistant|>")
    assert shaped.trimmed == (sides["chosen"] != sides["chosen"].strip())


def test_sides_that_are_equal_once_trimmed_are_counted_rejects(
    goal_row: Callable[..., Any], goal_table: Callable[..., Any]
) -> None:
    def said(text: str) -> list[dict[str, Any]]:
        return [{"role": "assistant", "content": text, "extra": None}]

    rows = [goal_row(0, chosen=said("yes\n"), rejected=said("yes")), goal_row(1)]
    shaped = shape(goal_table(rows).frame, EXPORTS["axolotl"], FILE_TYPES["parquet"])
    assert (shaped.frame.height, shaped.rejects.height) == (1, 1)
    assert "differ only in the white space" in shaped.rejects["reason"][0]


def test_compressed_lines_are_refused_for_loaders_that_refuse_them(
    tmp_path: Path, goal_table: Callable[..., Any]
) -> None:
    for name, ending in (("llamafactory", "jsonl.gz"), ("openrlhf", "jsonl.zst"), ("ms-swift", "jsonl.gz")):
        with pytest.raises(SettingsError, match=f"{name} does not load .{ending} files"):
            write(goal_table(2), tmp_path / f"x.{ending}", format=name)
    EXPORTS["openrlhf"].refuse_ending("jsonl.gz", single=False)
    EXPORTS["trl"].refuse_ending("jsonl.gz", single=True)


def test_every_split_of_llamafactory_has_a_folder_and_a_name_of_its_own() -> None:
    folders = {"test": "data/test", "train": "data/train"}
    described = json.loads(EXPORTS["llamafactory"].companions(folders)["dataset_info.json"])
    assert {name: entry["file_name"] for name, entry in described.items()} == {
        "prefboost": "data/train",
        "prefboost_test": "data/test",
    }
