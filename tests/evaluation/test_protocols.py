from prefboost.evaluation.benchmark import BenchmarkPrompt
from prefboost.evaluation.protocols import Contestant, choose_likeliest_tokens


def test_completions_are_the_likeliest_where_a_benchmark_does_not_say_otherwise():
    sampling = choose_likeliest_tokens(BenchmarkPrompt("u", ("q",)))
    assert (sampling.temperature, sampling.top_p) == (0.0, 1.0)


def test_a_contestant_is_asked_for_no_goal_unless_one_is_given():
    assert Contestant("m", engine=None).goal is None
