import pytest

from prefboost.evaluation.kinds import BENCHMARKS
from prefboost.evaluation.protocols import JudgedBenchmark, MeasuredBenchmark


@pytest.mark.parametrize("kind", BENCHMARKS)
def test_every_benchmark_has_its_name_and_one_of_two_ways_to_be_run(kind):
    made = BENCHMARKS[kind]()
    assert made.kind == kind
    assert isinstance(made, JudgedBenchmark) != isinstance(made, MeasuredBenchmark)


@pytest.mark.parametrize("kind", BENCHMARKS)
def test_every_setting_of_a_benchmark_has_a_sentence(kind):
    assert all(field.description for field in BENCHMARKS[kind].model_fields.values())
