"""What a micro-batch looks like, and what a loss is given of it."""

from __future__ import annotations

import torch

from prefboost.training.policy.batches import PaddedCollator, UnitCollator, as_pair_logps, name_views, select_views

UNITS = [
    {
        "unit_id": "a",
        "view": ["chosen", "rejected"],
        "prompt_ids": [[1, 2], [1, 3]],
        "chosen_ids": [[4, 5, 6], [7]],
        "rejected_ids": [[7], [4, 5, 6]],
        "score_chosen": [9.0, 2.0],
        "score_rejected": [2.0, 9.0],
        "goal": [9.0, 2.0],
        "distance_chosen": [0.0, 0.0],
        "distance_rejected": [7.0, 7.0],
        "ref_chosen": [-1.0, -2.0],
        "ref_rejected": [-2.0, -1.0],
    },
    {
        "unit_id": "b",
        "view": ["plain"],
        "prompt_ids": [[1]],
        "chosen_ids": [[5]],
        "rejected_ids": [[6, 6]],
        "score_chosen": [None],
        "score_rejected": [None],
        "goal": [None],
        "distance_chosen": [None],
        "distance_rejected": [None],
        "ref_chosen": [-3.0],
        "ref_rejected": [-4.0],
    },
]


def test_chosen_rows_come_first_in_the_order_of_the_views() -> None:
    batch = PaddedCollator(pad_id=0)(UNITS)
    assert batch["input_ids"].tolist() == [
        [1, 2, 4, 5, 6],
        [1, 3, 7, 0, 0],
        [1, 5, 0, 0, 0],
        [1, 2, 7, 0, 0],
        [1, 3, 4, 5, 6],
        [1, 6, 6, 0, 0],
    ]
    assert batch["completion_mask"].sum(1).tolist() == [3, 1, 1, 1, 3, 2]
    assert batch["unit_ids"] == ["a", "a", "b"] and batch["views"] == ["chosen", "rejected", "plain"]
    assert batch["goal"].isnan().tolist() == [False, False, True]


def test_a_loss_is_given_lengths_scores_and_reference() -> None:
    batch = UnitCollator()(UNITS)
    pairs = as_pair_logps(torch.arange(6.0), batch)
    assert pairs.chosen.tolist() == [0, 1, 2] and pairs.rejected.tolist() == [3, 4, 5]
    assert pairs.length_chosen.tolist() == [3, 1, 1] and pairs.length_rejected.tolist() == [1, 3, 2]
    assert pairs.ref_chosen is not None and pairs.ref_chosen.tolist() == [-1, -2, -3]
    assert pairs.goal is not None and pairs.goal.dtype == torch.float32


def test_numbers_that_no_view_has_are_none() -> None:
    units = [{key: value for key, value in UNITS[1].items() if not key.startswith("ref")}]
    pairs = as_pair_logps(torch.zeros(2), UnitCollator()(units))
    assert pairs.goal is None and pairs.score_chosen is None and pairs.ref_chosen is None


def test_a_part_of_a_batch_is_the_batch_of_those_views() -> None:
    whole, last = UnitCollator()(UNITS), UnitCollator()(UNITS[1:])
    part = select_views(whole, [2])
    assert part["unit_ids"] == ["b"] and part["views"] == ["plain"]
    assert part["tokens"].prompts == last["tokens"].prompts and part["tokens"].rejected == ([6, 6],)
    assert torch.equal(part["ref_chosen"], last["ref_chosen"]) and part["goal"].isnan().all()


def test_the_stream_holds_chosen_completions_first_and_shares_prompts() -> None:
    unit = {**UNITS[1], "prompt_ids": [list(range(20))]}
    packed = UnitCollator()([unit])["tokens"].pack_pairs()
    assert packed.sequences == 2 and packed.owner.tolist() == [0, 1, 1]
    assert packed.tokens == 21 and packed.unshared_tokens == 41


def test_every_view_of_whole_units_has_a_name_of_its_own() -> None:
    assert name_views({"unit_ids": ["a", "a", "b", "a"]}) == ["a/0", "a/1", "b/0", "a/2"]
