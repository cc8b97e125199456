"""Every rule of wording notices its faults, names their place, and lets good code pass."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from wording import Fault, count_comments, find_faults, find_package, is_imperative, judge_function_name


def list_faults(text: str, rule: str, path: str = "pack/losses/a.py") -> list[str]:
    return places(find_faults({path: text}), rule)


def places(faults: Iterable[Fault], rule: str) -> list[str]:
    return [fault.where for fault in faults if fault.rule == rule]


def test_a_public_name_of_two_modules_is_a_fault_of_both() -> None:
    modules = {
        "pack/a.py": "class Place: ...\ndef _draw(): ...\n",
        "pack/chat/b.py": "x = 1\nclass Place: ...\ndef _draw(): ...\nclass Own:\n    def Place(self): ...\n",
        "pack/chat/c.py": "def draw(): ...\ndef draw(): ...\n",
    }
    faults = [fault for fault in find_faults(modules) if fault.rule == "shared_names"]
    assert [(fault.package, fault.where) for fault in faults] == [
        ("pack", "pack/a.py:1 Place"),
        ("chat", "pack/chat/b.py:2 Place"),
    ]


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("_said", "participle_functions"),
        ("stored_games", "participle_functions"),
        ("drawn", "participle_functions"),
        ("scoring", "participle_functions"),
        ("_one", "vague_functions"),
        ("what_is_left", "vague_functions"),
        ("__or__", ""),
        ("training_step", ""),
        ("feed", ""),
        ("embed_texts", ""),
        ("read", ""),
        ("build_message", ""),
    ],
)
def test_functions_named_by_a_participle_or_a_vague_word_are_faults(name: str, rule: str) -> None:
    assert judge_function_name(name) == rule
    faults = find_faults({"pack/losses/a.py": f"def {name}(): ...\n"})
    assert [fault.rule for fault in faults] == [rule] * bool(rule)


def test_a_property_may_be_named_like_the_value_that_it_is() -> None:
    text = "class Job:\n    @property\n    def finished(self):\n        '''Whether it is over.'''\n"
    assert find_faults({"pack/losses/a.py": text}) == []


def test_banned_variables_are_noticed_wherever_a_name_is_bound() -> None:
    text = (
        "found = 1\n"
        "for told in ():\n    pass\n"
        "def f(one, *, _kept=2):\n    return [own for own in one]\n"
        "try:\n    pass\nexcept OSError as known:\n    pass\n"
        "if (wanted := 3):\n    pass\n"
    )
    names = [place.split()[1] for place in list_faults(text, "banned_variables")]
    assert sorted(names) == ["_kept", "found", "known", "one", "own", "told", "wanted"]


def test_fields_of_a_class_are_formats_and_reading_a_name_binds_nothing() -> None:
    assert list_faults("class A:\n    kept: int\n    told = 1\nprint(one.found)\n", "banned_variables") == []


@pytest.mark.parametrize(
    ("docstring", "imperative"),
    [
        ("Send a request.", True),
        ("Score every model.", True),
        ("`Return` early.", True),
        ("Score of a completion.", False),
        ("Log -> what was found.", False),
        ("The card as Markdown.", False),
        ("Whether it occurs.", False),
        ("Returns the card.", False),
        ("Ten bins.", False),
    ],
)
def test_a_functions_docstring_begins_with_an_imperative_verb(docstring: str, imperative: bool) -> None:
    assert is_imperative(docstring) is imperative
    faults = list_faults(f"def f():\n    '''{docstring}'''\n", "docstring_mood")
    assert faults == ([] if imperative else [f"pack/losses/a.py:1 f: {docstring}"])


def test_modules_classes_and_attributes_may_be_nouns_but_no_noun_clauses() -> None:
    nouns = "'''Losses.'''\nclass A:\n    '''A loss.'''\n    x: int\n    '''Its beta.'''\n"
    clauses = "'''What is lost.'''\nclass A:\n    '''How it is.'''\n    x: int\n    '''Whether, then.'''\n"
    assert list_faults(nouns, "docstring_mood") == []
    assert [place.split(":")[1][:1] for place in list_faults(clauses, "docstring_mood")] == ["1", "3", "5"]


def test_a_tuple_of_fixed_length_counts_as_its_elements() -> None:
    wide = "def f(a, goals: tuple[str, int, tuple[float, float]], b: tuple[int, int] | None) -> None: ...\n"
    alias = "Where = tuple[int, int, int]\ndef f(a: Where, b: Where, c: int) -> None: ...\n"
    fits = "class A:\n    def f(self, a, b, c, d, e: tuple[int, ...], f): ...\n"
    assert list_faults(wide, "wide_functions") == ["pack/losses/a.py:1 f: 7 parameters"]
    assert list_faults(alias, "wide_functions") == ["pack/losses/a.py:2 f: 7 parameters"]
    assert list_faults(fits, "wide_functions") == []
    excused = wide.replace("...", "...  # noqa: PLR0913 - the goal and its place travel with the pairs")
    assert list_faults(excused, "wide_functions") == []
    assert list_faults(wide, "wide_functions", "pack/cli/a.py") == []


def test_a_private_function_that_one_place_uses_is_a_fault_wherever_that_place_is() -> None:
    modules = {
        "prefboost/a/x.py": "def _once() -> int: ...\ndef _twice() -> int: ...\ndef public() -> int: return _twice()\n",
        "prefboost/b/y.py": "import x\ndef __init__() -> None: ...\nvalue = x._once() + x._twice()\n",
    }
    faults = [fault for fault in find_faults(modules) if fault.rule == "single_call_functions"]
    assert [(fault.package, fault.where) for fault in faults] == [("a", "prefboost/a/x.py:1 _once")]


def test_comments_are_counted_for_readers_and_not_for_tools() -> None:
    text = "# why\nx = 1  # [B, K]\ny = 2  # noqa: E741\ns = '# no'\n"
    assert count_comments(text) == 2


@pytest.mark.parametrize(("package", "missing"), [("packing", 3), ("recipes", 0), ("sources", 0)])
def test_comments_are_missed_by_the_share_of_their_package(package: str, missing: int) -> None:
    faults = places(find_faults({f"pack/{package}/a.py": "# why\n" + "x = 1\n" * 99}), "missing_comments")
    assert len(faults) == missing


def test_a_package_is_the_folder_below_the_root() -> None:
    assert find_package("pack/errors.py") == "pack"
    assert find_package("pack/runs/evaluate/run.py") == "runs"
