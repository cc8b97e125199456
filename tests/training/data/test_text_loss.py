"""Lost text is said in sentences, and an error where too many rows lose some."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.training.conftest import build_tokenizer

from prefboost.errors import DataError, TemplateRefusal
from prefboost.tables.rejects import REJECTS
from prefboost.training import Train
from prefboost.training.data.text_loss import (
    REJECTED_FILE,
    TextLoss,
    describe_losses,
    encoder_of,
    refuse_losses,
    refuse_unfaithful,
    settle_losses,
    write_rejected,
)

SERIOUS = ("beginning of prompt", "one token", "no end of turn", "beyond positions", "lost message")


def test_every_kind_of_loss_is_a_sentence_with_its_share() -> None:
    lines = describe_losses({"prompt": 3, "no end of turn": 1200, "chosen": 0}, 1200)
    assert lines[0] == "3 of 1,200 rows: the prompt is cut to max_prompt_length"
    assert lines[1].startswith("1,200 of 1,200 rows: the chat template writes no token that ends a completion")
    assert len(lines) == 2


@pytest.mark.parametrize("what", SERIOUS)
def test_a_loss_is_an_error_above_the_share_and_none_below(what: str) -> None:
    loss = TextLoss({what: 3})
    refuse_losses(loss, 12, 0.25)
    refuse_losses(loss, 3, 1.0)
    with pytest.raises(DataError, match=r"in 3 of 11 rows .* more than max_loss_share 0.25") as error:
        refuse_losses(loss, 11, 0.25)
    assert "max_loss_share: 1" in str(error.value)


def test_cut_completions_alone_are_no_error() -> None:
    refuse_losses(TextLoss({"chosen": 10, "prompt": 10, "end of turn of chosen": 10}), 10, 0.0)


def test_rejected_rows_are_written_with_the_columns_of_all_rejects(tmp_path: Path) -> None:
    loss = TextLoss()
    loss.reject({"row": 7, "pair_id": "p", "prompt_id": "x"}, "why", "what " * 99)
    write_rejected(loss.rejected, tmp_path)
    table = pq.read_table(tmp_path / REJECTED_FILE)
    assert table.column_names == list(REJECTS)
    [row] = table.to_pylist()
    assert (row["stage"], row["row"], row["id"], row["reason"], len(row["found"])) == ("train", 7, "p", "why", 200)
    write_rejected([], tmp_path)
    assert not (tmp_path / REJECTED_FILE).exists()


def test_a_completion_that_is_rendered_without_its_text_is_refused_by_name() -> None:
    completion = [{"role": "assistant", "content": "yes", "extra": None}]
    refuse_unfaithful("yes<|end|>", completion, "chosen")
    with pytest.raises(TemplateRefusal, match="chosen is rendered without the content of assistant message 0: 'yes'"):
        refuse_unfaithful("<|end|>", completion, "chosen")


def test_the_encoder_has_the_day_of_the_settings_or_that_of_the_beginning() -> None:
    settings = Train(model="m", system_messages="merge")
    assert encoder_of(build_tokenizer(), settings).day == date.today()
    assert encoder_of(build_tokenizer(), settings, "2025-01-01").day == date(2025, 1, 1)
    fixed = settings.model_copy(update={"template_day": "2024-02-29"})
    encoder = encoder_of(build_tokenizer(), fixed, "2025-01-01")
    assert encoder.day == date(2024, 2, 29) and encoder.merges_system


@dataclass
class Rows:
    """Rows as `settle_losses` needs them."""

    rows: int
    loss: TextLoss = field(default_factory=TextLoss)
    dropped: dict[str, int] = field(default_factory=dict)


def test_evaluation_rows_are_counted_and_named_apart(tmp_path: Path) -> None:
    trained = Rows(10, TextLoss({"prompt": 2}))
    evaluated = Rows(5, TextLoss({"chosen": 1}), {"the two completions are equal within max_length": 1})
    evaluated.loss.reject({"row": 3, "pair_id": "e"}, "why", "what")
    settle_losses(trained, evaluated, 0.25, tmp_path)
    assert trained.loss.sentences == [
        "2 of 10 rows: the prompt is cut to max_prompt_length",
        "1 of 5 evaluation rows: the chosen completion is cut at max_length",
        "1 of 5 evaluation rows are not used: the two completions are equal within max_length",
    ]
    [row] = pq.read_table(tmp_path / REJECTED_FILE).to_pylist()
    assert (row["stage"], row["row"], row["id"]) == ("evaluate", 3, "e")
    with pytest.raises(TemplateRefusal, match="1 of 5 evaluation rows cannot be rendered"):
        settle_losses(trained, evaluated, 0.1, None)


def test_rejected_rows_are_written_even_where_training_is_refused(tmp_path: Path) -> None:
    trained = Rows(2, TextLoss({"one token": 1}), {"why": 1})
    trained.loss.reject({"row": 0, "pair_id": "p"}, "why", "what")
    with pytest.raises(TemplateRefusal, match="1 of 2 rows cannot be rendered") as error:
        settle_losses(trained, None, 0.25, tmp_path)
    assert pq.read_table(tmp_path / REJECTED_FILE).num_rows == 1
    notes = "\n".join(error.value.__notes__)
    assert "1 of 2 rows are not used: why" in notes and "text lost: 1 of 2 rows: max_length" in notes
    assert str(tmp_path / REJECTED_FILE) in notes
