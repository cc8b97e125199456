from __future__ import annotations

from published_figures.mt_bench import MT_ORACLES


def test_every_stored_score_is_read_and_every_models_mean_comes_out(oracles_dir):
    official, robust, means = [check for oracle in MT_ORACLES for check in oracle.checks(oracles_dir)]
    for check in (official, robust, means):
        assert check.is_ok, (check.what, check.worst, check.deviation)
    assert len(official.published) == len(robust.published) == 1119
    assert means.computed["mistral-orpo-capybara"] == 6.81875  # published as 6.8188
