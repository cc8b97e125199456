import pytest
from judge_of_the_new import BENCHMARK, requests_in, scripted

from prefboost.engines.engine import Request
from prefboost.engines.openai.engine import OpenAICompatible
from prefboost.engines.store.store import Store
from prefboost.runs.evaluate.judge_forecast import estimate_prompt_tokens, forecast_judging
from prefboost.runs.evaluate.judging import judge_requests


def test_what_the_store_holds_is_not_forecast(tmp_path):
    requests, judge = requests_in(tmp_path), scripted()
    whole = forecast_judging(requests, judge.open())
    with Store(tmp_path / "store") as store:
        judge_requests(BENCHMARK, requests[:10], judge.open(), store)
        left = forecast_judging(requests, judge.open(), store)
    assert (left.calls, left.stored, whole.calls) == (len(requests) - 10, 10, len(requests))
    assert 0 < left.prompt_tokens < whole.prompt_tokens


def test_tokens_for_a_server_without_a_tokenizer_are_estimated_by_bytes_and_others_are_counted(tmp_path):
    requests = [Request(one.messages) for one in requests_in(tmp_path)]
    texts = [message["content"].encode() for one in requests for message in one.prompt]
    engine = OpenAICompatible(model="j", base_url="http://localhost:1/v1").open()
    assert estimate_prompt_tokens(engine, requests) == pytest.approx(
        sum(map(len, texts)) / 4.35 + 4 * len(texts), abs=1
    )
    judge = scripted().open()
    assert estimate_prompt_tokens(judge, requests) == sum(judge.prompt_tokens(requests))
