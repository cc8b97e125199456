from __future__ import annotations

import pytest
from published_figures.arena_hard import ARENA_ORACLES, read_battles


@pytest.mark.parametrize("oracle", ARENA_ORACLES, ids=lambda oracle: oracle.name)
def test_real_battles_and_published_intervals_come_out(oracles_dir, oracle):
    checks = list(oracle.checks(oracles_dir))
    assert checks
    for check in checks:
        assert check.is_ok, (check.what, check.worst, check.deviation)


def test_every_battle_is_a_game_with_a_verdict(oracles_dir):
    games = read_battles(oracles_dir)
    assert (len(games), len({game.uid for game in games})) == (2136, 120)
    assert all(game.facts["label"] for game in games)
