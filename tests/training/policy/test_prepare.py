"""How pairs are laid out for an engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.training.conftest import SAY, build_pairs, build_tokenizer

from prefboost.chat.rendering import ChatEncoder
from prefboost.errors import SettingsError
from prefboost.training import Train
from prefboost.training.policy.prepare import plan_units, tokenise_all

ENCODER = ChatEncoder(build_tokenizer())


def plan_of(**changes: Any) -> Any:
    settings = Train(model="m", batch_size=8, micro_batch=2, **changes)
    return plan_units(*tokenise_all(build_pairs(12), None, settings, ENCODER, SAY), settings)[1]


def test_the_packed_engine_has_a_step_in_one_batch_and_padded_ones_in_micro_batches() -> None:
    assert (plan_of().micro_batch, plan_of().accumulation) == (4, 1)
    assert (plan_of(engine="padded").micro_batch, plan_of(engine="padded").accumulation) == (2, 2)
    assert plan_of().steps == plan_of(engine="padded").steps == 3
    assert plan_of(engine="padded", loss="aot").micro_batch == 4


def test_the_slow_engine_refuses_losses_on_whole_batches_on_several_devices(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert plan_of(loss="aot").micro_batch == 2
    with pytest.raises(SettingsError, match="the loss 'aot' needs the whole batch"):
        plan_of(loss="aot", engine="padded")


def test_evaluation_units_are_set_aside() -> None:
    settings = Train(model="m", eval_fraction=0.5)
    data, _ = plan_units(*tokenise_all(build_pairs(8), None, settings, ENCODER, SAY), settings)
    assert data.evaluation is not None and len(data.train) == len(data.evaluation) == 4


def test_a_question_under_several_ids_is_not_on_both_sides_of_the_split() -> None:
    pairs = build_pairs(8)
    rows = pairs.to_pylist()
    numbers = {name: at for at, name in enumerate(dict.fromkeys(row["pair_id"] for row in rows))}
    twins = [{**row, "pair_id": f"again {row['pair_id']}", "prompt_id": f"again {row['prompt_id']}"} for row in rows]
    for row in twins:
        row["goal_pair_id"] = f"again {row['goal_pair_id']}"
    both = pa.Table.from_pylist(rows + twins, schema=pairs.schema)
    settings = Train(model="m", eval_fraction=0.5)
    data, _ = plan_units(*tokenise_all(both, None, settings, ENCODER, SAY), settings)
    assert data.evaluation is not None and len(data.train) == len(data.evaluation) == len(numbers)
    sides = [{name.removeprefix("again ") for name in side["unit_id"]} for side in (data.train, data.evaluation)]
    assert not sides[0] & sides[1]
