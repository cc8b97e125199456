from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from published_figures.alpaca import ALPACA_ORACLES, read_alpaca_oracle

from prefboost.statistics import fit_length_control


@pytest.mark.parametrize("oracle", ALPACA_ORACLES, ids=lambda oracle: oracle.name)
def test_figures_of_35_models_are_the_published_ones(oracles_dir, oracle):
    if oracle.library:
        pytest.importorskip(oracle.library, reason="scikit-learn is not installed (extra eval)")
    checks = list(oracle.checks(oracles_dir))
    assert checks
    for check in checks:
        assert check.is_ok, (check.what, check.worst, check.deviation)
        assert len(check.published) == (31 if "avg_length" in check.what else 35)


def test_the_right_alignment_is_not_the_published_one_where_rows_are_missing(oracles_dir):
    oracle = read_alpaca_oracle(oracles_dir)
    places = pl.read_parquet(oracles_dir / "alpaca_judgements.parquet").filter(pl.col("model") == "minotaur-13b")
    rows = oracle.judged["minotaur-13b"].rows
    aligned = replace(rows, difficulty=oracle.difficulty[places.sort("row")["instruction_index"].to_numpy()])
    published = oracle.published["minotaur-13b"]["length_controlled_winrate"]
    assert 100 * fit_length_control(rows).share == pytest.approx(published, abs=0.16)
    assert 100 * fit_length_control(aligned).share == pytest.approx(9.11, abs=0.2)


def test_a_wrong_preference_is_seen(oracles_dir, tmp_path):
    for path in oracles_dir.glob("alpaca_*"):
        (tmp_path / path.name).symlink_to(path)
    judged = pl.read_parquet(oracles_dir / "alpaca_judgements.parquet").filter(pl.col("model") == "claude-2")
    (tmp_path / "alpaca_judgements.parquet").unlink()
    changed = judged.with_columns(pl.when(pl.col("row") == 3).then(1.9).otherwise("preference").alias("preference"))
    changed.write_parquet(tmp_path / "alpaca_judgements.parquet")
    raw = next(ALPACA_ORACLES[0].checks(tmp_path))
    assert (raw.worst, raw.is_ok) == ("claude-2", False)
    assert np.isfinite(raw.deviation)
