"""Every judge stands under its kind, and keeps to the Protocol."""

from __future__ import annotations

from prefboost.scoring.judges.judge import JUDGES, StoredJudge


def test_every_judge_stands_under_its_kind() -> None:
    assert {kind: arm.model_fields["kind"].default for kind, arm in JUDGES.items()} == {kind: kind for kind in JUDGES}


def test_every_judge_can_go_on_where_it_stopped() -> None:
    assert all(issubclass(arm, StoredJudge) and callable(arm.judge) for arm in JUDGES.values())  # type: ignore[attr-defined]
