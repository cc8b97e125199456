from __future__ import annotations

import json

from published_figures.reward_models import REWARD_ORACLES


def test_golden_values_of_three_benchmarks_come_out(oracles_dir):
    checks = [check for oracle in REWARD_ORACLES for check in oracle.checks(oracles_dir)]
    for check in checks:
        assert check.is_ok, (check.what, check.worst, check.deviation)
    assert {check.benchmark for check in checks} == {"rewardbench", "rewardbench2", "rm_bench"}


def test_another_golden_value_is_seen(oracles_dir, tmp_path):
    golden = json.loads((oracles_dir / "rewardbench_golden.json").read_text())
    golden["ties"][0]["overall"] += 1e-6
    (tmp_path / "rewardbench_golden.json").write_text(json.dumps(golden))
    off = [check.what for oracle in REWARD_ORACLES for check in oracle.checks(tmp_path) if not check.is_ok]
    assert off == ["Ties (share)"]
