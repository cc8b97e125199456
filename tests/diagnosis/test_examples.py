from __future__ import annotations

from tables_of import pair_table

from prefboost.diagnosis.examples import add_texts
from prefboost.diagnosis.finding import Example, Finding


def test_texts_are_fetched_by_position_over_several_tables_and_no_further() -> None:
    read = []

    def stream():  # type: ignore[no-untyped-def]
        for number in range(3):
            read.append(number)
            yield pair_table([(9, 1), (8, 2)])

    finding = Finding("any", "note", "", 2, 6, (Example(0, position=0), Example(1, position=3)))
    (filled,) = add_texts([finding], stream)
    assert [example.text for example in filled.examples] == [
        "chosen: good 0 | rejected: bad 0 | prompt: question 0",
        "chosen: good 1 | rejected: bad 1 | prompt: question 1",
    ]
    assert read == [0, 1]


def test_without_examples_nothing_is_read_again() -> None:
    finding = Finding("any", "note", "", 2, 6)
    assert add_texts([finding], lambda: iter([1, 2])) == (finding,)  # type: ignore[list-item]


def test_characters_without_width_are_shown() -> None:
    finding = Finding("near_empty", "warning", "", 1, 1, (Example(0, position=0),))
    table = pair_table([(9, 1)], prompt=[{"role": "user", "content": "\u200b", "extra": None}])
    (filled,) = add_texts([finding], lambda: iter([table]))
    assert filled.examples[0].text.endswith("prompt: ␣")
