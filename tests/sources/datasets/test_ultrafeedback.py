"""UltraFeedback: the nested original, its cleaning, and the binarized variants."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from prefboost.runs.augment.augment import augment
from prefboost.sources import Columns, File, UltraFeedback, read
from prefboost.sources.rows.scores import TEN_FOR_ONE

ASPECTS = ("instruction_following", "honesty", "truthfulness", "helpfulness")


def completion(text: str, overall: float, ratings: str) -> dict[str, Any]:
    annotations = {
        aspect: {"Rating": rating, "Rationale": "because"}
        for aspect, rating in zip(ASPECTS, ratings.split(), strict=True)
    }
    return {
        "annotations": annotations,
        "custom_system_prompt": "be good",
        "model": "m",
        "principle": "helpfulness",
        "response": text,
        "critique": "fine",
        "fine-grained_score": 3.0,
        "overall_score": overall,
    }


def record(instruction: str, source: str, *completions: dict[str, Any]) -> dict[str, Any]:
    return {
        "source": source,
        "instruction": instruction,
        "models": ["m"],
        "completions": list(completions),
        "correct_answers": ["None"],
        "incorrect_answers": ["None"],
    }


def stored(tmp_path: Path, *records: dict[str, Any]) -> str:
    path = tmp_path / "uf.jsonl"
    path.write_text("\n".join(map(json.dumps, records)))
    return str(path)


def test_the_published_form_is_read_with_overall_score_and_aspects(tmp_path: Path) -> None:
    path = stored(tmp_path, record("q", "evol", completion("a", 7.5, "5 4 3 N/A"), completion("b", 2, "1 2 3 4")))
    frame = read(path).frame
    assert frame["score"].to_list() == [7.5, 2]
    assert frame["score.honesty"].to_list() == [4, 2]
    assert frame["score.helpfulness"].to_list() == [None, 4]
    assert frame["model"].to_list() == ["m", "m"]
    assert frame["source"].to_list() == ["evol", "evol"]


def test_what_the_paper_leaves_out_is_counted(tmp_path: Path) -> None:
    good = completion("a", 8, "4 4 4 4")
    path = stored(
        tmp_path,
        record("q", "evol", good, completion("b", 5, "3 N/A 3 3"), completion("c", 10, "1 1 2 1")),
        record("r", "truthful_qa", good),
    )
    table = read(UltraFeedback(path=path))
    assert table.frame["score"].to_list() == [8]
    assert dict(table.steps[0].rejected) == {
        "the completion is not rated in every aspect (drop_unrated)": 1,
        "the overall score of 10 contradicts the aspects (fix_overall)": 1,
        "the source is left out (drop_sources)": 1,
    }
    assert read(UltraFeedback(path=path, fix_overall="one")).frame["score"].to_list() == [8, 1]
    assert read(UltraFeedback(path=path, fix_overall="keep")).frame["score"].to_list() == [8, 10]
    assert read(UltraFeedback(path=path, score="mean")).frame["score"].to_list() == [4, 1.25]


def chat(question: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def test_the_binarized_variants_are_scored_pairs(tmp_path: Path) -> None:
    zephyr = {
        "prompt": "q",
        "prompt_id": "f0e3",
        "chosen": chat("q", "a"),
        "rejected": chat("q", "b"),
        "messages": chat("q", "a"),
        "score_chosen": 6.5,
        "score_rejected": 6.0,
    }
    cleaned = {
        "source": "evol",
        "prompt": "q",
        "chosen": chat("q", "a"),
        "chosen-rating": 6.5,
        "chosen-model": "m",
        "rejected": chat("q", "b"),
        "rejected-rating": 6.0,
        "rejected-model": "n",
    }
    notus = {
        "source": "evol",
        "instruction": "q",
        "chosen_response": "a",
        "rejected_response": "b",
        "chosen_avg_rating": 6.5,
        "rejected_avg_rating": 6.0,
        "chosen_model": "m",
    }
    for variant in (zephyr, cleaned, notus):
        path = stored(tmp_path, variant)
        for source in (File(path=path), UltraFeedback(path=path)):
            row = read(source).frame.row(0, named=True)
            assert (row["score_chosen"], row["score_rejected"]) == (6.5, 6.0)
            assert [message["content"] for message in row["prompt"]] == ["q"]
            assert [message["content"] for message in row["chosen"]] == ["a"]


def test_the_range_is_1_to_10_overall_and_1_to_5_of_ratings(tmp_path: Path) -> None:
    path = stored(tmp_path, record("q", "evol", completion("a", 7.5, "5 4 3 2")))
    scores = ("overall", "mean", "honesty")
    found = {score: UltraFeedback(path=path, score=score).resolve_score_range(Columns()) for score in scores}
    assert found == {"overall": (1, 10), "mean": (1, 5), "honesty": (1, 5)}
    binarized = {"prompt": "q", "chosen": "a", "rejected": "b"}
    for name, ends in (("rating", (1, 5)), ("score", (1, 10))):
        path = stored(tmp_path, {**binarized, f"chosen-{name}": 4, f"rejected-{name}": 2})
        assert UltraFeedback(path=path).resolve_score_range(Columns()) == ends


def test_plain_augment_flags_the_tens_that_should_be_ones_and_keeps_them(tmp_path: Path) -> None:
    rows = [
        record("q", "evol", completion("a", 10, "1 1 2 1"), completion("b", 6, "3 4 3 3")),
        record("r", "evol", completion("c", 10, "5 5 5 5"), completion("d", 2, "1 2 1 1")),
    ]
    path = stored(tmp_path, *rows)
    report = augment(path, tmp_path / "plain")
    (finding,) = report.findings
    assert finding.startswith("overall_contradicts_aspects: 1 overall scores of 10") and "data=ultrafeedback" in finding
    assert report.pairs == 2
    assert finding in (tmp_path / "plain" / "README.md").read_text(encoding="utf-8")
    assert augment(path, tmp_path / "plain").findings == report.findings, "of an output that is already there, too"
    assert augment(UltraFeedback(path=path, fix_overall="one"), tmp_path / "mended").findings == ()
    assert augment(UltraFeedback(path=path, fix_overall="keep"), tmp_path / "kept").findings == report.findings


def test_pairs_with_aspects_are_flagged_on_either_side(tmp_path: Path) -> None:
    low = {f"score_chosen.{aspect}": 1 for aspect in ASPECTS} | {f"score_rejected.{aspect}": 4 for aspect in ASPECTS}
    pair = {"prompt": "q", "chosen": "a", "rejected": "b", "score_chosen": 10, "score_rejected": 7}
    path = stored(tmp_path, {**pair, **low}, {**pair, "chosen": "c", **low, "score_chosen": 9})
    assert read(path).steps[0].notes[TEN_FOR_ONE] == 1
