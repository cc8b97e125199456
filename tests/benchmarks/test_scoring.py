"""The benchmark of scoring: its data, and what it says of what was measured."""

from __future__ import annotations

import pytest
from benchmark_scripts import load_benchmark

scoring = load_benchmark("scoring")


def side(seconds: float, peak: int, scores: list[float]) -> dict[str, object]:
    return {"seconds": seconds, "peak_bytes": peak, "rows": 2, "tokens": 10, "scores": scores}


def test_completions_are_the_same_at_every_call_and_differ_in_length() -> None:
    rows = scoring.completions(10)
    assert rows == scoring.completions(10) and len(rows) == 40 and len({prompt for prompt, _ in rows}) == 10
    lengths = [len(completion.split()) for _, completion in rows]
    assert max(lengths) > 4 * min(lengths)


def test_ratios_are_of_the_slower_to_the_faster_and_the_largest_difference_counts() -> None:
    found = {"naive": side(4.0, 100, [1.0, 2.0]), "ours": side(2.0, 50, [1.0, 2.5]), "arrival": side(3.0, 1, []),
             "by_length": side(2.0, 1, [])}  # fmt: skip
    result = scoring.compared(found)
    assert (result["scoring_ratio"], result["scoring_memory_ratio"], result["generation_ratio"]) == (2.0, 0.5, 1.5)
    assert result["largest_difference"] == pytest.approx(0.5)
    assert "2.00 times as fast" in "\n".join(scoring._lines(result))
