"""A stranger's script per export target: the card's usage line is read by the trainer's own parser, the rows by its own
loader, and the goal, the winner and the scores are still there.

Run by `make trainers`, which gets the sources at the versions that the cards name.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
import yaml
from tests.made.trainer_sources import borrow, borrow_parser, list_fields, locate_source
from tests.training.conftest import build_tokenizer

from prefboost.runs.augment.augment import Augment, augment

pytestmark = pytest.mark.torch
datasets = pytest.importorskip("datasets")

GOAL = r"(?:[Ss]core|rating)[^\n]*?(\d+(?:\.\d+)?)"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(sys, "path", [*sys.path, str(locate_source("chz").parent)])
    yield


def write(tmp_path: Path, scored: Callable[..., Any], name: Any, out: str, **settings: Any) -> tuple[str, int]:
    """The usage of the card, and how many rows are to train on."""
    source = scored(tmp_path / "in.jsonl", prompts=12)
    report = augment(source, out, Augment(format=name, **settings))
    card = tmp_path / (f"{out}.card.md" if "." in out else f"{out}/README.md")
    text = card.read_text()
    assert "Checked against the loader of " in text
    return text.split("## How to use it")[1].split("```")[1].strip(), report.splits.get("train", report.goal_pairs)


def check(prompts: list[str], chosen: list[str], rejected: list[str], scores: list[tuple[float, float]]) -> None:
    """Rows come in twos: under the higher score as goal the better one wins, under the lower one the other."""
    goals = [float(re.findall(GOAL, prompt)[-1]) for prompt in prompts]
    for high, low in zip(range(0, len(prompts), 2), range(1, len(prompts), 2), strict=True):
        assert goals[high] > goals[low]
        assert (chosen[high], rejected[high]) == (rejected[low], chosen[low])
    assert [first for first, _ in scores] == goals
    assert all(first != second for first, second in scores)


def package(name: str) -> types.ModuleType:
    """An empty package that modules can be put into."""
    module = types.ModuleType(name)
    module.__path__ = []
    return module


def last_texts(rows: Any) -> list[str]:
    return [messages[-1]["content"] for messages in rows]


FORMS = [("pairs", {"file_type": "parquet", "test_share": 0.3}), ("pairs.jsonl", {}), ("pairs.parquet", {})]


@pytest.mark.parametrize(("out", "settings"), FORMS)
def test_openrlhf(out: str, settings: Any, tmp_path: Path, scored: Callable[..., Any]) -> None:
    usage, expected = write(tmp_path, scored, "openrlhf", out, **settings)
    parser = borrow_parser("openrlhf/cli/train_dpo.py")
    args = borrow("openrlhf/utils/config.py").hierarchize(parser.parse_args(shlex.split(usage.split("train_dpo")[1])))
    loader = borrow("openrlhf/datasets/utils.py")
    strategy = SimpleNamespace(print=lambda *_: None, is_rank_0=lambda: False, args=args)
    rows = loader.blending_datasets(
        args.data.dataset, args.data.dataset_probs, strategy, dataset_split=args.data.dataset_split
    )
    assert len(rows) == expected
    read = borrow(
        "openrlhf/datasets/reward_dataset.py", "preprocess_data", exist_and_not_none=loader.exist_and_not_none
    )
    render = build_tokenizer().apply_chat_template
    keys = (args.data.prompt_key, args.data.chosen_key, args.data.rejected_key)
    assert args.data.apply_chat_template
    parts = [read.preprocess_data(row, None, *keys, render, True) for row in rows]
    prompts, chosen, rejected, margins = (list(column) for column in zip(*parts, strict=True))
    check(prompts, chosen, rejected, [(row["score_chosen"], row["score_rejected"]) for row in rows])
    assert min(margins) > 0
    if settings:
        assert len(loader.blending_datasets(args.eval.dataset, None, strategy, dataset_split=args.eval.split)) > 0


@pytest.mark.parametrize(("out", "settings"), FORMS)
def test_ms_swift(
    out: str, settings: Any, tmp_path: Path, scored: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("swift", "swift.template", "swift.utils", "swift.dataset", "swift.dataset.utils"):
        monkeypatch.setitem(sys.modules, name, MagicMock(__path__=[]))
    usage, expected = write(tmp_path, scored, "ms-swift", out, **settings)
    words = shlex.split(usage)
    assert words[:4] == ["swift", "rlhf", "--rlhf_type", "dpo"]
    known = list_fields("swift/arguments/rlhf_args.py") | list_fields("swift/arguments/base_args/data_args.py")
    assert {word[2:] for word in words if word.startswith("--")} <= known
    syntax = borrow("swift/dataset/dataset_syntax.py").DatasetSyntax.parse(words[words.index("--dataset") + 1])
    folder = syntax.dataset_type == "repo"
    ending = Path(out).suffix.lstrip(".").replace("jsonl", "json")
    rows = (
        datasets.load_dataset(syntax.dataset, "default", split="train")
        if folder
        else datasets.load_dataset(ending, data_files=syntax.dataset, split="train")
    )
    core = borrow(
        "swift/dataset/preprocessor/core.py",
        get_cache_dir=lambda: str(tmp_path / "swift"),
        safe_ddp_context=lambda *_: nullcontext(),
        __package__="swift.dataset.preprocessor",
        normalize_openai_tool_calls=borrow("swift/template/template_inputs.py").normalize_openai_tool_calls,
    )
    processed = core.AutoPreprocessor()(rows, num_proc=1, strict=True, enable_auto_mapping=True)
    processed = core.RowPreprocessor.remove_useless_columns(processed)
    assert set(processed.column_names) >= {"messages", "rejected_messages"}
    assert len(processed) == expected
    inputs = borrow("swift/template/template_inputs.py").TemplateInputs
    pairs = [inputs.from_dict(row) for row in processed]
    assert all(pair.chosen.system == pair.rejected.system for pair in pairs)
    prompts = [json.dumps([pair.chosen.system, pair.chosen.messages[:-1]]) for pair in pairs]
    chosen, rejected = (
        [getattr(pair, side).messages[-1]["content"] for pair in pairs] for side in ("chosen", "rejected")
    )
    # ms-swift drops columns that it does not know; the file keeps the scores.
    check(prompts, chosen, rejected, [(row["score_chosen"], row["score_rejected"]) for row in rows])
    if folder:
        (pattern,) = words[words.index("--val_dataset") + 1 :]
        assert [path for path in tmp_path.glob(pattern) if path.is_file()]


@pytest.mark.parametrize(
    ("out", "settings"), [("pairs", {"test_share": 0.3}), ("pairs.jsonl", {}), ("pairs.parquet", {})]
)
def test_nemo_rl(out: str, settings: Any, tmp_path: Path, scored: Callable[..., Any]) -> None:
    usage, expected = write(tmp_path, scored, "nemo-rl", out, **settings)
    omegaconf = pytest.importorskip("omegaconf")
    pytest.importorskip("hydra")
    reader = borrow("nemo_rl/utils/config.py", "OverridesError", "parse_hydra_overrides")
    config = omegaconf.OmegaConf.load(locate_source("examples/configs/dpo.yaml"))
    config = reader.parse_hydra_overrides(config, shlex.split(usage.split("run_dpo.py")[1]))
    data = omegaconf.OmegaConf.to_container(config, resolve=False)["data"]
    loader = borrow("nemo_rl/data/datasets/utils.py", "load_dataset_from_path")
    source = borrow(
        "nemo_rl/data/datasets/preference_datasets/preference_dataset.py",
        RawDataset=object,
        load_dataset_from_path=loader.load_dataset_from_path,
    )
    assert data["train"].pop("dataset_name") == "PreferenceDataset"
    rows = source.PreferenceDataset(**data["train"]).dataset
    assert len(rows) == expected
    if settings:
        assert len(source.PreferenceDataset(**data["validation"]).dataset) > 0
    else:
        assert data["validation"] is None
    logs = borrow(
        "nemo_rl/data/llm_message_utils.py",
        "get_formatted_message_log",
        "get_first_index_that_differs",
        load_media_from_message=lambda *_, **__: {},
    )
    process = borrow(
        "nemo_rl/data/processors.py",
        "preference_preprocessor",
        get_formatted_message_log=logs.get_formatted_message_log,
    ).preference_preprocessor
    tokenizer, task = build_tokenizer(), SimpleNamespace(prompt=None, system_prompt=None)
    items = [process(row, task, tokenizer, 4096, 0) for row in rows]
    sides = [[item[f"message_log_{side}"] for item in items] for side in ("chosen", "rejected")]
    prompts = ["".join(message["content"] for message in log[:-1]) for log in sides[0]]
    assert [log[-1]["role"] for log in sides[0]] == ["assistant"] * len(rows)
    rewards = [tuple(each["reward"] for each in row["completions"]) for row in rows]
    assert [[each["rank"] for each in row["completions"]] for row in rows] == [[0, 1]] * len(rows)
    check(prompts, last_texts(sides[0]), last_texts(sides[1]), rewards)


@pytest.mark.parametrize(
    ("out", "settings"), [("pairs", {"test_share": 0.3}), ("pairs.jsonl", {}), ("pairs.parquet", {})]
)
def test_open_instruct(
    out: str, settings: Any, tmp_path: Path, scored: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage, expected = write(tmp_path, scored, "open-instruct", out, **settings)
    words = shlex.split(usage)
    known = list_fields("open_instruct/dpo_utils.py") | list_fields("open_instruct/olmo_core_utils.py")
    assert {word[2:] for word in words if word.startswith("--")} <= known
    mixer = words[words.index("--mixer_list") + 1 : words.index("--mixer_list_splits")]
    module = borrow("open_instruct/dataset_transformation.py", max_num_processes=lambda: 1, get_commit_hash=None)
    module.load_dataset_configs.__globals__["get_commit_hash"] = lambda *_: None
    (config,) = module.load_dataset_configs(mixer, [words[-1]], [], [])
    assert len(config.dataset) == expected
    tokenizer = build_tokenizer()
    encode = module.preference_tulu_tokenize_and_truncate_v1_2
    items = [encode(row, tokenizer, 4096) for row in config.dataset]
    assert all(module.preference_tulu_filter_v1(item, tokenizer) for item in items)
    trained, prompts = {}, []
    for side in ("chosen", "rejected"):
        labels = [[label for label in item[f"{side}_labels"].tolist() if label >= 0] for item in items]
        trained[side] = [tokenizer.decode(each) for each in labels]
    for item in items:
        pairs = zip(item["chosen_input_ids"].tolist(), item["chosen_labels"].tolist(), strict=True)
        prompts.append(tokenizer.decode([token for token, label in pairs if label < 0]))
    scores = [(row["score_chosen"], row["score_rejected"]) for row in config.dataset]
    check(prompts, trained["chosen"], trained["rejected"], scores)


def test_tinker(tmp_path: Path, scored: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    usage, expected = write(tmp_path, scored, "tinker", "pairs.jsonl")
    blobfile = SimpleNamespace(BlobFile=lambda path, mode, streaming: Path(path).open(mode))  # noqa: SIM115
    monkeypatch.setitem(sys.modules, "blobfile", blobfile)  # type: ignore[arg-type]
    kinds = borrow("tinker_cookbook/preference/types.py", "Comparison", "LabeledComparison")
    builders = borrow(
        "tinker_cookbook/preference/preference_datasets.py",
        "ComparisonDatasetBuilder",
        "ComparisonBuilderFromJsonl",
        Comparison=kinds.Comparison,
        LabeledComparison=kinds.LabeledComparison,
    )
    chats = borrow(
        "tinker_cookbook/preference/dpo_datasets.py", "DPODatasetBuilderFromComparisons", ChatDatasetBuilder=object
    )
    for name in ("tinker_cookbook", "tinker_cookbook.preference"):
        monkeypatch.setitem(sys.modules, name, package(name))
    for name, values in (("preference_datasets", builders), ("dpo_datasets", chats)):
        monkeypatch.setitem(sys.modules, f"tinker_cookbook.preference.{name}", values)
    world: dict[str, Any] = {}
    exec(usage.split("dataset_builder =")[0], world)
    assert (
        "comparison_builder=comparisons" in usage
        and "comparison_builder" in chats.DPODatasetBuilderFromComparisons.__annotations__
    )
    comparisons, tests = world["comparisons"].get_labeled_comparisons()
    assert (len(comparisons), tests) == (expected, None)
    assert {each.label for each in comparisons} == {"A"}
    prompts = [json.dumps(each.comparison.prompt_conversation) for each in comparisons]
    chosen = last_texts(each.comparison.completion_A for each in comparisons)
    rejected = last_texts(each.comparison.completion_B for each in comparisons)
    rows, _ = world["comparisons"].get_train_and_test_datasets()
    check(prompts, chosen, rejected, [(row["score_chosen"], row["score_rejected"]) for row in rows])


@pytest.mark.parametrize(("out", "settings"), FORMS)
def test_llamafactory(out: str, settings: Any, tmp_path: Path, scored: Callable[..., Any]) -> None:
    usage, expected = write(tmp_path, scored, "llamafactory", out, **settings)
    words = shlex.split(usage.split("\n")[0])
    known = list_fields("llamafactory/hparams/data_args.py") | list_fields("llamafactory/hparams/finetuning_args.py")
    assert {word[2:] for word in words if word.startswith("--")} <= known
    folder = Path(words[words.index("--dataset_dir") + 1])
    if not settings:
        folder = tmp_path
        (folder / "dataset_info.json").write_text(usage[usage.index("{") :])
    parser = borrow("llamafactory/data/parser.py", DATA_CONFIG="dataset_info.json")
    names = [words[words.index(flag) + 1] for flag in ("--dataset", "--eval_dataset") if flag in words]
    attributes = parser.get_dataset_list(names, str(folder))
    loader = borrow(
        "llamafactory/data/loader.py",
        "_load_single_dataset",
        logger=MagicMock(),
        align_dataset=lambda rows, *_: rows,
        FILEEXT2TYPE=borrow("llamafactory/extras/constants.py", "FILEEXT2TYPE").FILEEXT2TYPE,
    )
    data = SimpleNamespace(dataset_dir=str(folder), preprocessing_num_workers=None, streaming=False, max_samples=None)
    model = SimpleNamespace(cache_dir=None, hf_hub_token=None)
    tables = [loader._load_single_dataset(each, model, data, None) for each in attributes]
    assert len(tables[0]) == expected and all(len(table) > 0 for table in tables)
    roles = borrow("llamafactory/data/data_utils.py", "Role")
    converters = borrow(
        "llamafactory/data/converter.py",
        "DatasetConverter",
        "SharegptDatasetConverter",
        Role=roles.Role,
        logger=MagicMock(),
    )
    convert = converters.SharegptDatasetConverter(dataset_attr=attributes[0], data_args=data)
    rows = [convert(row) for row in tables[0]]
    prompts = [json.dumps([row["_system"], row["_prompt"]]) for row in rows]
    sides = [[row["_response"][side]["content"] for row in rows] for side in (0, 1)]
    check(prompts, *sides, [(row["score_chosen"], row["score_rejected"]) for row in tables[0]])


@pytest.mark.parametrize(("out", "settings"), FORMS)
def test_axolotl(out: str, settings: Any, tmp_path: Path, scored: Callable[..., Any]) -> None:
    usage, expected = write(tmp_path, scored, "axolotl", out, **settings)
    config = yaml.safe_load(usage)
    assert config["rl"] == "dpo"
    assert set(config["datasets"][0]) <= list_fields("axolotl/utils/schemas/datasets.py")

    class Defaults(dict[str, Any]):
        __getattr__ = dict.get

    loader = borrow(
        "axolotl/utils/data/shared.py",
        "EXTENSIONS_TO_DATASET_TYPES",
        "get_dataset_type",
        "load_dataset_with_config",
        "_load_from_local_path",
        # Removed from datasets 4, where it was ignored.
        load_dataset=lambda *args, trust_remote_code, **rest: datasets.load_dataset(*args, **rest),  # noqa: PLW0108
    )
    rows = loader.load_dataset_with_config(Defaults(config["datasets"][0]), False)
    assert len(rows) == expected
    templates = borrow("axolotl/utils/chat_templates/base.py", "extract_chat_template_args", "_DEFAULT_TEMPLATE_CHOICE")
    tokenizer = build_tokenizer()
    strategy = borrow(
        "axolotl/prompt_strategies/dpo/chat_template.py",
        extract_chat_template_args=templates.extract_chat_template_args,
        get_chat_template=lambda **_: tokenizer.chat_template,
        handle_legacy_message_fields_logic=lambda each: each,
    )
    assert config["datasets"][0]["type"] == "chat_template.default"
    transform, _ = strategy.default(config)
    items = [transform(row, tokenizer=tokenizer) for row in rows]
    sides = [[item[side] for item in items] for side in ("prompt", "chosen", "rejected")]
    check(*sides, [(row["score_chosen"], row["score_rejected"]) for row in rows])
