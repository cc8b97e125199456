"""YAML that remembers its lines."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from prefboost.errors import Place, SettingsError
from prefboost.recipes.documents import apply_overrides, parse, write_yaml

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1, max_size=6), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.text(min_size=1, max_size=6), PLAIN, max_size=4))
@example({"revision": "0E0"})
@example({"\x85": None, "wording": "é\u2028"})
def test_what_is_written_is_read_back(values: dict[str, object]) -> None:
    assert parse(write_yaml(values)).values == values


def test_every_key_and_item_knows_its_line() -> None:
    document = parse("a: 1\nb:\n  c:\n  - x\n  - d: 2\n", path="f.yaml")
    assert document.origin(("b", "c")) == Place("f.yaml", line=3)
    assert document.origin(("b", "c", 1, "d")) == Place("f.yaml", line=5)
    assert document.origin(("b", "nothing", "here")) == Place("f.yaml", line=2)


@pytest.mark.parametrize(
    ("text", "value"), [("5e-7", 5e-7), ("1E3", 1000.0), ("1.0e-6", 1e-6), ("v1e", "v1e"), ("7", 7)]
)
def test_a_number_with_an_exponent_is_a_number(text: str, value: object) -> None:
    assert parse(f"x: {text}").values == {"x": value}


def test_a_key_that_stands_twice_is_an_error_at_its_second_line() -> None:
    with pytest.raises(SettingsError, match=r"f.yaml:4: train.rate occurs twice, first in line 2"):
        parse("train:\n  rate: 1\n  size: 2\n  rate: 3\n", path="f.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "a: b: c",
        "a: [1",
        "\tx: 1",
        "a: !!python/object:os.system x",
        "? [a]\n: b",
        "&a [*a]",
        "a: \x00",
        "a: &x 1\n- b",
        "a: 2020-13-45",
    ],
)
def test_what_is_not_a_plain_document_is_a_settings_error_with_a_place(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse(text, path="f.yaml")
    assert str(caught.value).startswith("f.yaml")


def test_aliases_that_multiply_are_refused_quickly() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    with pytest.raises(SettingsError, match="aliases"):
        parse("\n".join(lines))


def test_merged_keys_are_read() -> None:
    assert parse("base: &b {x: 1, y: 2}\nown: {<<: *b, y: 3}").values["own"] == {"x": 1, "y": 3}


def test_an_empty_document_holds_no_settings() -> None:
    assert parse("# nothing\n").values == {}


def test_overrides_replace_make_and_index_in_order() -> None:
    document = apply_overrides(parse("a: {b: 1}\nl: [1, 2]"), ["a.b=2", "a.c.d=[x]", "l.1=9", "a.b=5e-1", "e="])
    assert document.values == {"a": {"b": 0.5, "c": {"d": ["x"]}}, "l": [1, 9], "e": None}
    assert document.origin(("a", "b")) == "override 'a.b=5e-1'"


def test_overrides_leave_the_first_document_as_it_was() -> None:
    document = parse("a: {b: 1}")
    apply_overrides(document, ["a.b=2"])
    assert document.values == {"a": {"b": 1}}


@pytest.mark.parametrize("override", ["novalue", "=1", "a..b=1", "a.b=[1", "n.x=1", "l.7=1", "l.x=1"])
def test_a_wrong_override_is_named(override: str) -> None:
    with pytest.raises(SettingsError) as caught:
        apply_overrides(parse("a: {b: 1}\nn: 3\nl: [1]"), [override])
    assert repr(override) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Score: {{ goal }}", "Score: {{ goal }}"),
        ("{{ goal }} points: please", "{{ goal }} points: please"),
        ("a: b", "a: b"),
        ("- a", "- a"),
        ("[a, 1]", ["a", 1]),
        ("{a: 1}", {"a": 1}),
        ('"1"', "1"),
        ("1e-6", 1e-6),
        ("null", None),
        ("", None),
    ],
)
def test_lists_and_mappings_of_an_override_stand_in_brackets(text: str, value: object) -> None:
    assert apply_overrides(parse("a: 1"), [f"x={text}"]).values["x"] == value
