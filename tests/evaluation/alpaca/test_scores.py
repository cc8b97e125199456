import numpy as np
import pytest

from prefboost.errors import DataError
from prefboost.evaluation.alpaca.scores import AlpacaRules, score_preferences
from prefboost.evaluation.benchmark import JudgeVerdict
from prefboost.statistics import Bootstrap

QUICK = AlpacaRules(interval=Bootstrap(resamples=100), threads=1)


def made(seed: int = 0, count: int = 40) -> list[JudgeVerdict]:
    rng = np.random.default_rng(seed)
    return [
        JudgeVerdict(
            f"p{at:02d}", "mine", part, float(rng.uniform()),
            {"len_1": 100, "len_2": int(rng.integers(50, 300)), "model_first": part == "model_first"},
        )
        for at in range(count) for part in ("baseline_first", "model_first")
    ]  # fmt: skip


def test_rows_in_another_order_give_the_same_figures():
    verdicts = made()
    mixed = [verdicts[at] for at in np.random.default_rng(1).permutation(len(verdicts))]
    one, other = score_preferences(mixed, QUICK), score_preferences(verdicts, QUICK)
    assert one.markdown() == other.markdown()


def test_a_prompt_with_one_order_missing_is_left_out_in_both():
    verdicts = made(count=200)
    verdicts[0] = JudgeVerdict("p00", "mine", "baseline_first", None, verdicts[0].facts, fault="no verdict")
    figure = score_preferences(verdicts, QUICK).figure("win_rate", "mine")
    assert figure.missing == 2
    assert figure.value.rows == 398


def test_a_verdict_that_stands_twice_is_refused():
    with pytest.raises(DataError, match="judged twice"):
        score_preferences([*made(), made()[0]], QUICK)


def test_no_verdicts_are_refused():
    with pytest.raises(DataError, match="no verdicts"):
        score_preferences([], QUICK)


def test_a_prompt_without_difficulty_is_named():
    with pytest.raises(DataError, match="have no difficulty"):
        score_preferences(made(), QUICK, difficulty={"p00": 1.0})
