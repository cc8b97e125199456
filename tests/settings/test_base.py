"""Settings are frozen and closed, and unions chosen by kind dump to what loads to themselves."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from prefboost.settings import Settings, choice, dump_with_kind, kind_of, load_class


class Circle(Settings):
    """Round."""

    kind: Literal["circle"] = "circle"
    radius: float = Field(1.0, gt=0, description="Radius.")


class Square(Settings):
    """Not round."""

    kind: Literal["square"] = "square"
    side: float = Field(1.0, description="Side.")


class Foreign(Settings):
    """An arm that nobody wrote into the dict."""

    corners: int = Field(5, description="Corners.")


class Drawing(Settings):
    """Holds a shape."""

    shape: Annotated[Circle | Square, choice({"circle": Circle, "square": Square})] = Field(
        Circle(), description="Shape."
    )


@given(st.floats(0.1, 100))
def test_a_dump_loads_to_itself(radius: float) -> None:
    drawing = Drawing(shape=Circle(radius=radius))
    assert Drawing.model_validate(drawing.model_dump(mode="json")) == drawing
    assert drawing.model_dump()["shape"] == {"kind": "circle", "radius": radius}


@pytest.mark.parametrize("given_as", ["square", {"kind": "square"}, Square()])
def test_a_union_is_given_by_name_mapping_or_object(given_as: Any) -> None:
    assert Drawing(shape=given_as).shape == Square()


def test_anyones_class_plugs_in_by_its_name_and_dumps_to_it() -> None:
    reference = f"{__name__}:Foreign"
    drawing = Drawing.model_validate({"shape": {"kind": reference, "corners": 7}})
    assert kind_of(drawing.shape) == reference
    assert drawing.model_dump()["shape"] == {"kind": reference, "corners": 7}
    assert dump_with_kind(drawing.shape) == drawing.model_dump()["shape"]
    assert dump_with_kind(3) == {"kind": "builtins:int"}


@pytest.mark.parametrize(
    "wrong", ["sqare", {"kind": "nowhere.at:All"}, {"side": 1}, 3, {"kind": "circle", "radius": -1}]
)
def test_what_is_no_arm_is_refused(wrong: Any) -> None:
    with pytest.raises(ValidationError):
        Drawing(shape=wrong)


def test_the_nearest_kind_is_named() -> None:
    with pytest.raises(ValidationError, match="did you mean square"):
        Drawing.model_validate({"shape": "sqare"})


def test_unknown_keys_changes_and_infinities_are_errors() -> None:
    for wrong in ({"sid": 1}, {"side": float("inf")}, {"side": float("nan")}):
        with pytest.raises(ValidationError):
            Square.model_validate(wrong)
    with pytest.raises(ValidationError):
        Square().side = 2.0  # type: ignore[misc]


def test_a_class_that_cannot_be_loaded_is_named() -> None:
    with pytest.raises(ValueError, match=r"no_such_module:Thing.*package\.module:Class"):
        load_class("no_such_module:Thing")
