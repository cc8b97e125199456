"""Documents become settings, or one message that names every fault at its line."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, model_validator

from prefboost.errors import SettingsError
from prefboost.recipes.documents import apply_overrides, parse
from prefboost.recipes.validate import override, validate, validate_with
from prefboost.settings import Settings, choice


class Near(Settings):
    """An arm."""

    kind: Literal["near"] = "near"
    beta: float = Field(0.1, gt=0, description="Strength.")
    label_smoothing: float = Field(0.0, description="Share of flipped labels.")


class Far(Settings):
    """Another arm."""

    kind: Literal["far"] = "far"
    depth: int = Field(description="How far.")


class Inner(Settings):
    loss: Annotated[Near | Far, choice({"near": Near, "far": Far})] = Field(Near(), description="The loss.")
    rate: float = Field(1e-6, description="The rate.")
    sizes: list[int] = Field([1, 2], description="Sizes.")


class Outer(Settings):
    name: str = Field(description="A name.")
    train: Inner = Field(Inner(), description="How.")
    low: float = Field(0, description="Lowest.")
    high: float = Field(1, description="Highest.")

    @model_validator(mode="after")
    def _ordered(self) -> Outer:
        if self.low >= self.high:
            raise ValueError(f"low {self.low} is not below high {self.high}")
        return self


def faults(text: str, *overrides: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        validate(Outer, apply_overrides(parse(text, path="r.yaml"), overrides))
    return caught.value.message.splitlines()


def test_every_error_is_named_at_its_line_with_a_hint_in_reading_order() -> None:
    text = "nam: x\ntrain:\n  loss:\n    kind: near\n    betta: 0.1\n    beta: -1\n  rate: much\n"
    assert faults(text) == [
        "r.yaml:1: nam is not a setting here; did you mean name?",
        "r.yaml:1: name is missing (A name.)",
        "r.yaml:5: train.loss.betta is not a setting here; did you mean beta?",
        "r.yaml:6: train.loss.beta: input should be greater than 0, found -1",
        "r.yaml:7: train.rate: input should be a valid number, unable to parse string as a number, found 'much'",
    ]


def test_a_flow_mapping_is_named_at_its_line() -> None:
    assert faults("name: x\ntrain: {rate: 1.0, loss: {kind: near, label_smoothin: 0.3}}") == [
        "r.yaml:2: train.loss.label_smoothin is not a setting here; did you mean label_smoothing?"
    ]


def test_an_unknown_kind_names_the_nearest_and_all() -> None:
    (line,) = faults("name: x\ntrain:\n  loss: neat")
    assert line.startswith("r.yaml:3: train.loss: 'neat' is not a kind here; did you mean near? (one of: near, far;")


def test_a_missing_setting_of_an_arm_is_named_at_the_arm() -> None:
    assert faults("name: x\ntrain:\n  loss: far") == ["r.yaml:3: train.loss.depth is missing (How far.)"]
    assert faults("name: x\ntrain:\n  loss:\n    kind: far") == ["r.yaml:3: train.loss.depth is missing (How far.)"]


def test_errors_of_overrides_name_the_override() -> None:
    assert faults("name: x", "train.lr=3", "train.rate=high") == [
        "override 'train.lr=3': train.lr is not a setting here; settings here: loss, rate, sizes",
        "override 'train.rate=high': train.rate: input should be a valid number, unable to parse string as a number, "
        "found 'high'",
    ]


def test_an_override_of_a_list_item_is_named_by_its_index() -> None:
    assert faults("name: x\ntrain: {sizes: [1, 2]}", "train.sizes.1=b")[0].startswith(
        "override 'train.sizes.1=b': train"
    )
    assert faults("name: x\ntrain:\n  sizes:\n  - 1\n  - b")[0].startswith("r.yaml:5: train.sizes.1: ")


def test_a_rule_over_several_settings_is_named_at_their_mapping() -> None:
    assert faults("name: x\nlow: 3\nhigh: 2")[0].startswith("r.yaml:1: the recipe: low 3.0 is not below high 2.0")


def test_a_document_that_is_no_mapping_is_refused() -> None:
    assert faults("- a\n- b") == ["a mapping of settings is needed, found list ['a', 'b']"]


def test_an_override_below_a_kind_keeps_the_kind() -> None:
    settings = validate(Outer, apply_overrides(parse("name: x\ntrain: {loss: near}"), ["train.loss.beta=0.5"]))
    assert settings.train.loss == Near(beta=0.5)


def test_settings_can_be_overridden_without_a_document() -> None:
    assert override(Inner(), ["rate=5e-7", "sizes=[3]"]) == Inner(rate=5e-7, sizes=[3])
    with pytest.raises(SettingsError, match="override 'rat=1': rat is not a setting here; did you mean rate"):
        override(Inner(), ["rat=1"])


class Whole(Settings):
    outer: Annotated[Outer | None, Field(description="None by default.")] = None
    inner: Inner = Field(Inner(rate=2.0, sizes=[7]), description="Unlike its class.")
    far: Annotated[Near | Far, choice({"near": Near, "far": Far})] = Field(Far(depth=3), description="Far by default.")


def test_an_override_below_a_branch_that_is_not_written_out_changes_that_setting_alone() -> None:
    assert validate_with(Whole, parse("{}"), ["inner.loss.beta=0.5"]).inner == Inner(
        rate=2.0, sizes=[7], loss=Near(beta=0.5)
    )
    assert validate_with(Whole, parse("{}"), ["far.depth=9"]).far == Far(depth=9)
    assert validate_with(Whole, parse("far: near"), ["far.beta=9"]).far == Near(beta=9)
    assert validate_with(Whole, parse("outer: {name: x}"), ["outer.train.rate=1"]).outer == Outer(
        name="x", train=Inner(rate=1)
    )


def test_a_branch_that_an_override_made_is_named_by_the_override() -> None:
    with pytest.raises(SettingsError, match=r"^override 'outer\.low=2': outer\.name is missing"):
        validate_with(Whole, parse("{}", path="r.yaml"), ["outer.low=2"])


def test_a_kind_that_is_missing_is_said_to_be_missing() -> None:
    (line,) = faults("name: x\ntrain: {loss: {beta: 2}}")
    assert line.startswith("r.yaml:2: train.loss: its kind is missing (one of: near, far;")


@given(
    st.dictionaries(
        st.text(max_size=8), st.recursive(st.none() | st.text(max_size=5) | st.floats(), st.lists), max_size=4
    )
)
def test_whatever_a_document_holds_it_becomes_settings_or_a_settings_error(values: dict[str, object]) -> None:
    from prefboost.recipes.documents import Document

    try:
        validate(Outer, Document({"name": "x", **values}))
    except SettingsError as error:
        assert error.message
