from prefboost.evaluation.alarms import raise_alarms


def test_one_completion_for_many_prompts_raises_an_alarm_and_different_ones_do_not():
    null = {f"p{at}": ["I win."] if at % 3 == 0 else [f"a {at}"] for at in range(30)}
    fair = {f"p{at}": [f"b {at}"] for at in range(30)}
    alarms = raise_alarms({"null": null, "fair": fair})
    assert alarms == ["null gives one and the same completion to 10 of 30 prompts: its win rate means nothing"]


def test_two_equal_short_answers_among_many_are_no_alarm():
    assert not raise_alarms({"m": {f"p{at}": ["Yes."] if at < 2 else [f"{at}"] for at in range(30)}})


def test_a_model_that_says_the_same_for_every_goal_does_not_hear_it():
    deaf = {f"p{at}": [f"a {at}"] for at in range(10)}
    hears = {f"p{at}": [f"b {at}"] for at in range(10)}
    sweeps = {"m": ["m@1", "m@10"], "n": ["n@1", "n@10"]}
    alarms = raise_alarms({"m@1": deaf, "m@10": dict(deaf), "n@1": hears, "n@10": deaf}, sweeps)
    assert alarms == ["m says the same for every goal in 10 of 10 prompts: it does not hear the goal"]
