"""The card that travels with written data."""

from __future__ import annotations

from dataclasses import replace

import yaml

from prefboost.reporting.data_card import CardStep, DataCard, data_card
from prefboost.runs.augment.settings import Reject

CARD = DataCard(
    name="pairs",
    source="scored.parquet",
    splits=[("train", "data/train-*", 11_998), ("test", "data/test-*", 2)],
    pairs=6_000,
    export={"name": "trl", "about": "Rows of TRL.", "page": "https://example.org", "usage": 'load_dataset("pairs")'},
    scale="1 (lowest) to 10 (highest)",
    place=("in the system message", "as set", "Overall score: 10."),
    steps=[CardStep("read", 6_005, 6_001, 4), CardStep("relabel", 6_001, 12_000, 1)],
    rejects=[Reject("read", "score | is not a number", 4), Reject("relabel", "tie", 1)],
    left_out=[Reject("pair", "over the cap", 2)],
    rejects_file="rejects.parquet",
    guess={"prompt": "question", "aspects": ["helpfulness", "honesty"], "system": None},
    settings={"pair": {"kind": "best_vs_random"}},
    provenance={"command": "prefboost augment scored.parquet -o pairs", "version": "1", "fingerprint": "abc"},
)


def test_the_front_matter_is_what_the_hub_reads() -> None:
    _, front, _ = data_card(CARD).split("---\n", 2)
    matter = yaml.safe_load(front)
    assert matter["configs"] == [
        {
            "config_name": "default",
            "data_files": [{"split": "train", "path": "data/train-*"}, {"split": "test", "path": "data/test-*"}],
        }
    ]
    assert matter["size_categories"] == ["10K<n<100K"]
    assert matter["task_categories"] == ["text-generation"]


def test_a_hub_client_takes_the_front_matter() -> None:
    from huggingface_hub import DatasetCard

    assert DatasetCard(data_card(CARD)).data.pretty_name == "pairs"


def test_counts_reasons_scale_and_command_stand_in_it() -> None:
    text = data_card(CARD)
    for wanted in (
        "12,000 goal-conditioned preference pairs made of 6,000 scored pairs",
        "| read | 6,005 | 6,001 | 4 |",
        "| read | score \\| is not a number | 4 |",
        "| relabel | tie | 1 |",
        "| aspects | helpfulness, honesty |",
        "- Scale: 1 (lowest) to 10 (highest)",
        "prefboost augment scored.parquet -o pairs",
        "kind: best_vs_random",
        "Overall score: 10.",
    ):
        assert wanted in text
    assert "| system |" not in text


def test_without_rejects_it_says_that_nothing_was_dropped() -> None:
    text = data_card(replace(CARD, rejects=[]))
    assert "No row was dropped." in text
    assert "rejects.parquet" not in text


def test_equal_facts_make_equal_cards() -> None:
    assert data_card(CARD) == data_card(replace(CARD))
