"""The JSON schema takes what the loader takes and refuses what it refuses, so that editors are not wrong."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from prefboost.errors import SettingsError
from prefboost.recipes.documents import Document, KeyPath, parse
from prefboost.recipes.explain import schema
from prefboost.recipes.kinds import RECIPES
from prefboost.recipes.load import SCHEMA_LINE, SHIPPED, dump, load_any, of_kind

ROOT = Path(__file__).parents[2]
SCHEMA = schema(*RECIPES.values())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
FILES = [*sorted(SHIPPED.glob("*.yaml")), *sorted((ROOT / "examples").glob("*.yaml"))]

SHORT = {
    "a path as data": "name: a\ndata: scored.jsonl\ntrain: {model: m}",
    "a path with settings of a file": "name: a\ndata: {kind: s.jsonl, columns: {aspects: 'a,b'}}\ntrain: {model: m}",
    "kinds alone": "name: a\nkind: offline\ndata: ultrafeedback\npair: best_vs_random\ntrain: {model: m, loss: simpo}",
    "a foreign class": "name: a\ndata: s.jsonl\npair: prefboost.preferences:BestVsWorst\ntrain: {model: m}",
    "a foreign class with settings": "name: a\ndata: s.jsonl\ntrain: {model: m, "
    "loss: {kind: 'prefboost.losses:DPO', beta: 0.1}}",
    "parts as paths": "name: a\nkind: reward\nparts: {real: p.jsonl, made: {data: q.jsonl, weight: 0.5}}\n"
    "train: {model: m}",
    "an engine whose model is the policy": "name: a\nkind: on_policy\nprompts: p.txt\nscorer: rules\n"
    "generate: {engine: {kind: vllm, dtype: bfloat16}}\nevaluate: {engine: vllm}\ntrain: {model: m}",
}
WRONG = (
    "name: a\ndata: ultrafedback\ntrain: {model: m}",
    "name: a\ndata: s.jsonl\npair: {seed: 3}\ntrain: {model: m}",
    "name: a\ndata: s.jsonl\ntrain: {model: m, loss: {kind: dpo, beta: -1}}",
    "name: a\nkind: on_polcy\nprompts: p.txt\nscorer: rules\ntrain: {model: m}",
)


def is_loaded(values: Any) -> bool:
    try:
        of_kind(Document(values))
    except SettingsError:
        return False
    return True


def list_mappings(values: Any, at: KeyPath = ()) -> Iterator[KeyPath]:
    """Paths of the mappings whose settings the schema knows: not those of anyone's class."""
    if isinstance(values, dict):
        yield from () if ":" in str(values.get("kind")) else (at,)
        for key, value in values.items():
            yield from list_mappings(value, (*at, key))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_recipes_and_their_dumps_begin_with_the_schema_and_keep_to_it(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    dumped = dump(load_any(file))
    assert text.startswith(f"{SCHEMA_LINE}\n") and dumped.startswith(f"{SCHEMA_LINE}\n")
    VALIDATOR.validate(parse(text).values)
    VALIDATOR.validate(parse(dumped).values)


@pytest.mark.parametrize("name", ["gemma2-9b-ra", "ira-smollm2-135m", "smollm2-135m-on-policy"])
def test_a_setting_that_does_not_exist_is_refused_wherever_it_stands(name: str) -> None:
    values = yaml.safe_load(dump(load_any(name)))
    # The keys of these are the user's names, whose meaning no schema knows.
    places = [place for place in list_mappings(values) if not {"weights", "prices"} & set(place)]
    assert len(places) > 8
    for place in places:
        spoilt = copy.deepcopy(values)
        here = spoilt
        for step in place:
            here = here[step]
        here["no_such_setting"] = 1
        assert VALIDATOR.is_valid(spoilt) == is_loaded(spoilt), place


@pytest.mark.parametrize("text", SHORT.values(), ids=SHORT)
def test_short_forms_of_the_loader_are_no_faults_in_an_editor(text: str) -> None:
    values = parse(text).values
    of_kind(Document(values))
    VALIDATOR.validate(values)


@pytest.mark.parametrize("text", WRONG)
def test_faults_that_the_loader_finds_are_found_in_an_editor(text: str) -> None:
    values = parse(text).values
    assert not is_loaded(values) and not VALIDATOR.is_valid(values)


def test_the_address_of_the_schema_is_that_of_the_documentation() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    address = SCHEMA_LINE.partition("$schema=")[2]
    assert address.startswith(project["urls"]["Documentation"])
    assert (ROOT / "docs" / address.removeprefix(project["urls"]["Documentation"])).exists()
