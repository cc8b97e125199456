"""From a source file to token ids: what is trained is what `apply_chat_template` makes of the source's own JSON."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.training.conftest import build_folder, build_tokenizer

from prefboost.chat import goal_text
from prefboost.recipes.documents import parse
from prefboost.recipes.load import of_kind
from prefboost.runs.pipelines.offline import prepare
from prefboost.training.data.text_loss import encoder_of
from prefboost.training.policy.model import load_policy_tokenizer
from prefboost.training.policy.prepare import tokenise_all

HERMES = (
    "{{ '<|im_start|>system\n' }}{% if messages[0]['role'] == 'system' %}{{ messages[0]['content'] }}"
    "{% set messages = messages[1:] %}{% endif %}{% if tools %}{{ '\n<tools>' }}{% for tool in tools %}"
    "{{ tool | tojson }}\n{% endfor %}{{ '</tools>' }}{% endif %}{{ '<|im_end|>\n' }}{% for m in messages %}"
    "{{ '<|im_start|>' + m['role'] + '\n' }}{% if m['content'] is not none %}{{ m['content'] }}{% endif %}"
    "{% for call in m['tool_calls'] or [] %}<tool_call>\n{\"name\": \"{{ call['function']['name'] }}\", \"arguments\": "
    "{{ call['function']['arguments'] | tojson }}}\n</tool_call>{% endfor %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
MISTRAL = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system messages') }}{% endif %}"
    "{% for m in messages %}{% if m['role'] == 'user' %}{% if tools and loop.first %}"
    "[AVAILABLE_TOOLS] {{ tools | tojson }}[/AVAILABLE_TOOLS]{% endif %}[INST] {{ m['content'] }}[/INST]"
    "{% elif m['role'] == 'tool' %}[TOOL_RESULTS] "
    '{"id": "{{ m[\'tool_call_id\'] }}", "content": {{ m[\'content\'] }}}'
    "[/TOOL_RESULTS]{% elif m['tool_calls'] %}[TOOL_CALLS] {{ m['tool_calls'] | tojson }}<|im_end|>"
    "{% else %} {{ m['content'] }}<|im_end|>{% endif %}{% endfor %}"
)


def read_shipped(name: str) -> str:
    """A published model's template, as TRL ships it."""
    return (files("trl") / "chat_templates" / f"{name}.jinja").read_text(encoding="utf-8")


TEMPLATES: dict[str, Callable[[], str]] = {
    "llama 3.1": lambda: (
        read_shipped("llama3_1").replace("<|eot_id|>", "<|im_end|>").replace("<|eom_id|>", "<|im_end|>")
    ),
    "qwen 2.5": lambda: read_shipped("qwen2_5"),
    "qwen 3": lambda: read_shipped("qwen3"),
    "hermes": lambda: HERMES,
    "mistral": lambda: MISTRAL,
}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "find",
            "description": "Find a place",
            "parameters": {
                "type": "object",
                "required": ["zip"],
                "properties": {"zip": {"type": "integer", "default": None}, "a": {"type": "array", "items": {}}},
            },
        },
    }
]


def call(arguments: Any) -> dict[str, Any]:
    calls = [{"id": "abcdefghi", "type": "function", "function": {"name": "find", "arguments": arguments}}]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def conversation(number: int, first: Any, second: Any, *, system: bool = True) -> dict[str, Any]:
    """A scored pair after a call and its result; the chosen completion calls again."""
    prompt = [
        {"role": "user", "content": f"Where is {number}?"},
        call(first),
        {"role": "tool", "tool_call_id": "abcdefghi", "name": "find", "content": '{"ok": true}'},
        {"role": "user", "content": "And then?"},
    ]
    return {
        "prompt": [{"role": "system", "content": "Be brief."}, *prompt] if system else prompt,
        "chosen": [call(second)],
        "rejected": [{"role": "assistant", "content": f"No idea {number}."}],
        "score_chosen": 9,
        "score_rejected": 2,
        "tools": TOOLS,
    }


ARGUMENTS: list[tuple[Any, Any]] = [
    ({"zip": 75001, "b": None, "a": [1, None, 2.0]}, {"zip": "75001", "nested": {"z": None, "y": 1.5, "x": False}}),
    ({"b": "x", "zip": None}, {"b": "é <&>'\"\\\n", "zip": 7, "10": 1e30}),
    ({}, {"c": [], "d": {}, "e": ""}),
]


def write_json_lines(rows: list[dict[str, Any]], path: Path) -> Path:
    file = path.with_suffix(".jsonl")
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return file


def write_json(rows: list[dict[str, Any]], path: Path) -> Path:
    file = path.with_suffix(".json")
    file.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return file


def check_tokens(source: Path, rows: list[dict[str, Any]], model: Path, place: str) -> int:
    """Compare the token ids of `prefboost train` with the template's own text of the source's records; count sides."""
    paths = json.dumps(str(source)), json.dumps(str(model))
    text = f"name: t\ndata: {paths[0]}\ncondition: {{place: {place}}}\ntrain: {{model: {paths[1]}}}"
    recipe: Any = of_kind(parse(text))
    recipe = recipe.model_copy(update={"train": recipe.train.model_copy(
        update={"max_length": None, "max_prompt_length": None})})  # fmt: skip
    table = prepare(recipe).frame.to_arrow()
    tokenizer = load_policy_tokenizer(recipe.train)
    trained, _ = tokenise_all(table, None, recipe.train, encoder_of(tokenizer, recipe.train), recipe.condition)
    assert not trained.dropped and not trained.loss.shortened, (trained.loss.rejected, trained.loss.shortened)
    goals = {(row["pair_id"], row["view"]): row for row in table.to_pylist()}
    sides = 0
    for unit in trained.units.to_pylist():
        for at, view in enumerate(unit["view"]):
            row = goals[unit["unit_id"], view]
            question = next(m["content"] for m in row["prompt"] if "Where is" in m["content"]).rpartition("Where")[2]
            origin = next(each for each in rows if any(question in str(m["content"]) for m in each["prompt"]))
            messages = copy.deepcopy(origin["prompt"])
            target = next(m for m in messages if m["role"] == place)
            target["content"] = f"{goal_text(recipe.condition, row['goal'])}\n\n{target['content']}"
            options = {"tools": origin.get("tools"), "tokenize": False}
            prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, **options)
            assert tokenizer.decode(unit["prompt_ids"][at]) == prompt
            for side in ("chosen", "rejected"):
                other = {"chosen": "rejected", "rejected": "chosen"}[side]
                completion = origin[other if view == "rejected" else side]
                whole = tokenizer.apply_chat_template([*messages, *completion], **options)
                ids = unit["prompt_ids"][at] + unit[f"{side}_ids"][at]
                assert tokenizer.decode(ids) == whole.rstrip("\n") and whole.startswith(prompt)
                assert ids == tokenizer(whole.rstrip("\n"), add_special_tokens=False)["input_ids"]
                sides += 1
    return sides


def build_with(folder: Path, template: str) -> Path:
    build_folder(folder)
    build_tokenizer(template).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("write", [write_json_lines, write_json])
@pytest.mark.parametrize("name", TEMPLATES)
def test_what_is_trained_is_the_templates_text_of_the_sources_own_json(
    name: str, write: Callable[[list[dict[str, Any]], Path], Path], tmp_path: Path
) -> None:
    rows = [conversation(at, *both, system=name != "mistral") for at, both in enumerate(ARGUMENTS)]
    model = build_with(tmp_path / "model", TEMPLATES[name]())
    place = "user" if name == "mistral" else "system"
    assert check_tokens(write(rows, tmp_path / "source"), rows, model, place) == 12


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(-1e6, 1e6) | st.text('aé"\\<{\n ', max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abz1 ", max_size=3), inner, max_size=3),
    max_leaves=6,
)


CALLS = st.dictionaries(st.text("abz", min_size=1, max_size=3), JSON_VALUES, max_size=3)


@given(every=st.lists(st.tuples(CALLS, CALLS), min_size=1, max_size=4))
@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_arguments_calls_have_they_are_trained_as_they_are(
    every: list[tuple[Any, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("drawn")
    rows = [conversation(at, *both) for at, both in enumerate(every)]
    model = build_with(folder / "model", HERMES)
    assert check_tokens(write_json_lines(rows, folder / "source"), rows, model, "system") == 4 * len(rows)


@pytest.mark.skipif(not hasattr(pl, "Map"), reason="this release of Polars reads maps as lists")
def test_nulls_in_a_parquet_files_maps_are_kept_since_each_row_has_its_own_keys(tmp_path: Path) -> None:
    pairs = [({"z": "1", "b": None}, {"b": None}), ({"a": None}, {"b": "x", "a": "y"})]
    rows = [{**conversation(at, *both), "tools": None} for at, both in enumerate(pairs)]
    arguments = pa.map_(pa.string(), pa.string())
    function = pa.struct([("name", pa.string()), ("arguments", arguments)])
    one = pa.struct([("id", pa.string()), ("type", pa.string()), ("function", function)])
    message = pa.struct([
        ("role", pa.string()), ("content", pa.string()), ("tool_calls", pa.list_(one)),
        ("tool_call_id", pa.string()), ("name", pa.string()),
    ])  # fmt: skip
    columns = {
        name: pa.array([row[name] for row in rows], pa.list_(message)) for name in ("prompt", "chosen", "rejected")
    }
    scores = {name: pa.array([row[name] for row in rows]) for name in ("score_chosen", "score_rejected")}
    pq.write_table(pa.table({**columns, **scores}), tmp_path / "source.parquet")
    model = build_with(tmp_path / "model", HERMES)
    assert check_tokens(tmp_path / "source.parquet", rows, model, "system") == 8
