"""Lines that several commands print alike."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from prefboost.cli.lines import print_asked, print_rejected


@dataclass(frozen=True)
class _Plan:
    prompt_tokens: int = 12_345
    most_tokens: int = 678
    most_dollars: float | None = None
    estimated: bool = False


def test_tokens_are_a_guess_only_where_no_tokenizer_counts_them(capsys: pytest.CaptureFixture[str]) -> None:
    print_asked(_Plan())
    assert capsys.readouterr().out == "12,345 tokens to read, at most 678 to write\n"
    print_asked(_Plan(most_dollars=1.5, estimated=True))
    assert capsys.readouterr().out == "about 12,345 tokens to read, at most 678 to write\nabout $1.50 at most\n"


def test_every_reason_has_its_line_and_its_count(capsys: pytest.CaptureFixture[str]) -> None:
    print_rejected({"empty": 1_200, "cut": 3})
    assert capsys.readouterr().out == "1,200 set aside: empty\n3 set aside: cut\n"
    print_rejected({})
    assert capsys.readouterr().out == ""
