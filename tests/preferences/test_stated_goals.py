"""One record says how goals stand in the prompts, from `condition` to the checkpoint."""

from __future__ import annotations

import json

from tables_of import pair_table

from prefboost.chat import SayGoal
from prefboost.preferences import MinMax, RewardAugmented, apply_scale, condition, fit_scales, relabel
from prefboost.preferences.stated_goals import StatedGoals
from prefboost.tables import Table


def test_a_table_says_how_its_goals_are_stated_and_a_record_keeps_it() -> None:
    pairs = pair_table([(9.0, 2.0), (7.5, 1.0), (10.0, 8.0)])
    scales = fit_scales(MinMax(low=0, high=5), [pairs])
    table = condition(relabel(apply_scale(pairs, scales), RewardAugmented()), SayGoal(place="after"))
    goals = StatedGoals.of_table(table)
    assert goals is not None
    assert (goals.say.place, goals.say.low, goals.say.high, goals.because) == ("after", 0.0, 5.0, "as set")
    assert StatedGoals.from_record(json.loads(json.dumps(goals.record()))) == goals


def test_goals_are_settled_before_any_is_said_as_condition_settles_them() -> None:
    pairs = pair_table([(9.0, 2.0), (7.5, 1.0), (10.0, 8.0)])
    scales = fit_scales(MinMax(low=0, high=1), [pairs])
    goals = StatedGoals.settle(SayGoal(), scales)
    assert (goals.say.place, goals.say.digits) == ("system", 3) and "no tokenizer" in goals.because
    table = condition(relabel(apply_scale(pairs, scales), RewardAugmented(), say=goals.say), goals.say)
    stated = StatedGoals.of_table(table)
    assert stated is not None and (stated.say, stated.scales) == (goals.say, dict(goals.scales))


def test_a_table_that_was_never_conditioned_states_none() -> None:
    pairs: Table = pair_table([(9.0, 2.0), (7.5, 1.0), (10.0, 8.0)])
    assert StatedGoals.of_table(pairs) is None
