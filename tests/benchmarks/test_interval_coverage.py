import interval_coverage as benchmark
import numpy as np
import pytest

from prefboost.statistics import Bootstrap

QUICK = Bootstrap(resamples=100)


def test_an_interval_that_always_holds_the_truth_covers_it_wholly_and_one_that_never_does_not_at_all():
    world = benchmark.World("w", [1.0], lambda rng: {"wide": [(0.0, 2.0)], "off": [(2.0, 3.0)]})
    found = benchmark.measured(world, 20)
    assert found["wide"][0].estimate == 1 and found["wide"][1] == 2.0
    assert found["off"][0].estimate == 0


@pytest.mark.parametrize(
    "world",
    [
        lambda: benchmark.raw_world(12, QUICK),
        lambda: benchmark.length_world(12, QUICK, gamed=False),
        lambda: benchmark.length_world(12, QUICK, gamed=True),
        lambda: benchmark.strength_world(12, QUICK),
    ],
)
def test_every_world_gives_ours_and_the_published_kind(world, monkeypatch):
    monkeypatch.setattr(benchmark, "MANY", 2000)
    found = benchmark.measured(world(), 3)
    assert "ours" in found
    assert all(width > 0 for _, width in found.values())


def test_rows_that_stand_alone_have_the_same_win_rate():
    told = benchmark.battles(np.random.default_rng(0), 30, (0.0,))
    one, other = (benchmark.fit_bradley_terry(own, "b").win_rate("m0") for own in (told, benchmark.rows_alone(told)))
    assert one == pytest.approx(other, abs=1e-6)
