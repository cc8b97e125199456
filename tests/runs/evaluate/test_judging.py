import json
import math

import pytest
from faulty_server import FaultyServer
from scripted_engine import Scripted

from prefboost.engines.budget import Budget, Ledger
from prefboost.engines.engine import Request
from prefboost.engines.openai.engine import OpenAICompatible
from prefboost.engines.store.sightings import sightings
from prefboost.engines.store.store import Store
from prefboost.errors import RunError
from prefboost.evaluation.alpaca.judging import AlpacaEval
from prefboost.evaluation.alpaca.scores import AlpacaRules
from prefboost.evaluation.user_files import read_completions
from prefboost.runs.evaluate.judging import fallback_of, forecast, judged, likely_prompt_tokens
from prefboost.statistics import Bootstrap

BENCHMARK = AlpacaEval(AlpacaRules(interval=Bootstrap(resamples=100), threads=1), "base")


def write(path, text, count=12):
    path.write_text(json.dumps([{"instruction": f"q{at}", "output": f"{text} {at}"} for at in range(count)]))
    return path


def scripted():
    judge = Scripted.by(weigh=likes_new)
    judge.open().ledger = Ledger()
    return judge


def requests_in(folder):
    prompts, base = read_completions(write(folder / "base.json", "old"))
    return BENCHMARK.build(prompts, {"mine": read_completions(write(folder / "mine.json", "new"))[1], "base": base})


def second_is_new(prompt):
    return prompt.index('"output": """new') > prompt.index('"output": """old')


def likes_new(prompt, choices):
    return (math.log(0.1), math.log(0.9)) if second_is_new(prompt) else (math.log(0.9), math.log(0.1))


def in_words(prompt, seed=0, place=0):
    return "M" if second_is_new(prompt) else "m"


def on(server, **changes):
    return OpenAICompatible(model="j", base_url=server.base_url, backoff_s=0.002, **changes).open()


def test_a_judge_is_asked_once_and_a_second_call_asks_nothing(tmp_path):
    requests, judge = requests_in(tmp_path), scripted()
    with Store(tmp_path / "store") as store:
        verdicts = judged(BENCHMARK, requests, judge.open(), store)
        asked = len(judge.asked)
        again = judged(BENCHMARK, requests, judge.open(), store)
    assert asked == len(requests) == forecast(requests, judge.open()).calls
    assert len(judge.asked) == asked
    assert again == verdicts
    assert all(one.value == pytest.approx(0.9) and one.judge == "scripted" for one in verdicts)


def test_what_the_store_holds_is_not_forecast(tmp_path):
    requests, judge = requests_in(tmp_path), scripted()
    whole = forecast(requests, judge.open())
    with Store(tmp_path / "store") as store:
        judged(BENCHMARK, requests[:10], judge.open(), store)
        left = forecast(requests, judge.open(), store)
    assert (left.calls, left.stored, whole.calls) == (len(requests) - 10, 10, len(requests))
    assert 0 < left.prompt_tokens < whole.prompt_tokens


def test_a_judge_without_log_probs_is_read_in_words_and_found_out_once(tmp_path):
    requests = requests_in(tmp_path)
    said = Scripted.by(in_words).open()
    said.logprobs_of = Scripted.by(weigh=likes_new).open().logprob_of
    with Store(tmp_path / "store") as store:
        verdicts = judged(BENCHMARK, requests, said, store)
        assert fallback_of(requests, said, store) == "the engine gives no log-probs"
        asked = len(said.asked)
        judged(BENCHMARK, requests, said, store)
    assert {one.value for one in verdicts} == {1.0}
    assert asked == len(said.asked) == len(requests)


def test_a_server_that_refuses_log_probs_for_good_is_read_in_words(tmp_path):
    requests = requests_in(tmp_path)
    with FaultyServer(answer=in_words, fields_refused=("logprobs",)) as server, Store(tmp_path / "store") as store:
        verdicts = judged(BENCHMARK, requests, on(server), store)
        reason = fallback_of(requests, on(server), store)
        assert server.calls == 1 + len(requests)
        judged(BENCHMARK, requests, on(server), store)
        assert server.calls == 1 + len(requests), "a second call asks nothing"
        assert forecast(requests, on(server), store).calls == 0
    assert "unknown field logprobs" in reason
    assert all(one.value == 1.0 for one in verdicts)


def test_one_reply_without_log_probs_is_no_reason_to_read_all_others_in_words(tmp_path):
    requests = requests_in(tmp_path)
    odd = str(requests[0].messages[-1]["content"])

    def lacking(reply, prompt):
        return reply | {"choices": [{**reply["choices"][0], "logprobs": None}]} if prompt == odd else reply

    likely = {True: {"M": -0.1, "m": -2.4}, False: {"m": -0.1, "M": -2.4}}
    with (
        FaultyServer(dialect=lacking, likely=lambda prompt: likely[second_is_new(prompt)]) as server,
        Store(tmp_path / "store") as store,
    ):
        verdicts = judged(BENCHMARK, requests, on(server), store)
        assert fallback_of(requests, on(server), store) == ""
    assert verdicts[0].value is None and "no log-probs" in verdicts[0].fault
    assert all(one.value is not None for one in verdicts[1:])


def test_a_server_that_never_gives_log_probs_is_read_in_words(tmp_path):
    requests = requests_in(tmp_path)
    with FaultyServer(answer=in_words, dialect=without_log_probs) as server, Store(tmp_path / "store") as store:
        verdicts = judged(BENCHMARK, requests, on(server), store)
        assert server.calls == 3 + len(requests), "three questions are evidence enough"
    assert all(one.value == 1.0 for one in verdicts)


def without_log_probs(reply, prompt):
    return reply | {"choices": [{**choice, "logprobs": None} for choice in reply["choices"]]}


def test_a_server_that_has_changed_is_probed_again_by_the_next_call_and_not_within_one(tmp_path, monkeypatch):
    requests = requests_in(tmp_path)
    likely = {True: {"M": -0.1, "m": -2.4}, False: {"m": -0.1, "M": -2.4}}
    with FaultyServer(answer=in_words, likely=lambda prompt: likely[second_is_new(prompt)]) as server:
        server.dialect, server.named = without_log_probs, ("j", "fp_a")
        with Store(tmp_path / "store") as store:
            judged(BENCHMARK, requests, on(server), store)
            server.dialect, server.named = None, ("j", "fp_b")
            more = BENCHMARK.build(*[read_completions(write(tmp_path / "b.json", "old", 14))[0],
                {name: read_completions(write(tmp_path / f"{name}.json", text, 14))[1]
                 for name, text in (("mine", "new"), ("base", "old"))}])  # fmt: skip
            assert {one.value for one in judged(BENCHMARK, more, on(server), store)} == {1.0}
            assert fallback_of(more, on(server), store), "within a call what was found stands"
        with Store(tmp_path / "store") as store:
            verdicts = judged(BENCHMARK, requests, on(server), store)
            assert fallback_of(requests, on(server), store) == ""
            assert all(0.9 < one.value < 0.95 for one in verdicts)
        server.dialect = without_log_probs
        monkeypatch.setattr("prefboost.runs.evaluate.judging.today", lambda: "2099-01-01")
        with Store(tmp_path / "store") as store:
            assert "no log-probs" in fallback_of(more[-3:], on(server), store), "after a week"


def test_a_question_that_is_refused_however_it_is_put_says_nothing_of_log_probs(tmp_path):
    requests = requests_in(tmp_path)
    refused = frozenset({str(requests[0].messages[-1]["content"])})
    likely = {True: {"M": -0.1, "m": -2.4}, False: {"m": -0.1, "M": -2.4}}
    with (
        FaultyServer(refused=refused, likely=lambda prompt: likely[second_is_new(prompt)]) as server,
        Store(tmp_path / "store") as store,
    ):
        verdicts = judged(BENCHMARK, requests, on(server), store)
        assert fallback_of(requests, on(server), store) == ""
    assert verdicts[0].value is None and "this prompt is refused" in verdicts[0].fault
    assert all(one.value > 0.9 for one in verdicts[1:])


def test_who_answered_is_kept_with_fingerprint_and_date_and_a_change_is_seen(tmp_path):
    requests = requests_in(tmp_path)
    with FaultyServer(likely=lambda _: {"m": -0.5, "M": -1.0}) as server, Store(tmp_path / "store") as store:
        server.named = ("j-2029", "fp_a")
        judged(BENCHMARK, requests[:12], on(server), store, clock=lambda: "2030-01-01")
        server.named = ("j-2029", "fp_b")
        judged(BENCHMARK, requests, on(server), store, clock=lambda: "2030-01-02")
        seen = sightings(store)
    assert [(one.model, one.fingerprint, one.date) for one in seen] == [
        ("j-2029", "fp_a", "2030-01-01"), ("j-2029", "fp_b", "2030-01-02")
    ]  # fmt: skip
    assert server.base_url in seen[0].engine


def test_a_budget_ends_judging_and_what_is_done_stays(tmp_path):
    requests, judge = requests_in(tmp_path), scripted()
    with Store(tmp_path / "store") as store:
        judge.open().ledger = Ledger(Budget(requests=10))
        with pytest.raises(RunError, match="the judge has 10 of 24 answers"):
            judged(BENCHMARK, requests, judge.open(), store)
        judge.open().ledger = Ledger()
        judged(BENCHMARK, requests, judge.open(), store)
    assert len(judge.asked) == 24


def test_a_question_that_the_judge_cannot_see_whole_is_missing_and_never_cut(tmp_path):
    requests, judge = requests_in(tmp_path), scripted()
    lengths = judge.open().prompt_tokens([type("R", (), {"prompt": one.messages})() for one in requests])
    judge.open().context = max(lengths)
    with Store(tmp_path / "store") as store:
        verdicts = judged(BENCHMARK, requests, judge.open(), store)
    missing = [one for one in verdicts if one.value is None]
    assert len(missing) == lengths.count(max(lengths)) and "exceed what the judge can see" in missing[0].fault
    assert len(judge.asked) == len(requests) - len(missing)


def test_tokens_for_a_server_without_a_tokenizer_are_estimated_by_bytes_and_others_are_counted(tmp_path):
    requests = [Request(one.messages) for one in requests_in(tmp_path)]
    texts = [message["content"].encode() for one in requests for message in one.prompt]
    engine = OpenAICompatible(model="j", base_url="http://localhost:1/v1").open()
    assert likely_prompt_tokens(engine, requests) == pytest.approx(sum(map(len, texts)) / 4.35 + 4 * len(texts), abs=1)
    judge = scripted().open()
    assert likely_prompt_tokens(judge, requests) == sum(judge.prompt_tokens(requests))
