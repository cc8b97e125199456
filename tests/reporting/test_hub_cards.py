"""Cards of pushed models and outputs."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from prefboost.reporting.hub_cards import write_model_card, write_output_card


def test_an_output_card_counts_every_step_and_its_rejects(tmp_path: Path) -> None:
    step = {"verb": "synthesize", "settings": {}, "rows_in": 1200, "rows_out": 1000, "rejected": {"too alike": 200}}
    history = tmp_path / "out.parquet.synthesize.json"
    history.write_text(json.dumps({"steps": [step]}))
    card = write_output_card(tmp_path / "out.parquet", history, None)
    front = yaml.safe_load(card.split("---\n")[1])
    assert "license" not in front
    assert front["tags"] == ["prefboost", "synthesize"]
    assert "| synthesize | 1,200 | 1,000 | 200 |" in card
    assert "- rejected by synthesize: 200 rows: too alike" in card
    assert "arXiv:2407.16008" in card
    assert 'load_dataset("parquet", data_files="out.parquet"' in card


def test_a_model_card_keeps_what_the_training_wrote() -> None:
    card = write_model_card("---\nbase_model: org/base\n---\n\n# A policy\n\ntext --- more\n", "mit", (), ())
    assert yaml.safe_load(card.split("---\n")[1]) == {"base_model": "org/base", "license": "mit"}
    assert "# A policy\n\ntext --- more" in card
    assert "arXiv:2410.08067" in card
