from faulty_server import FaultyServer
from judge_of_the_new import BENCHMARK, in_words, likes_new, on, requests_in, second_is_new, write
from scripted_engine import Scripted

from prefboost.engines.store.store import Store
from prefboost.evaluation.user_files import read_completions
from prefboost.runs.evaluate.judge_forecast import forecast_judging
from prefboost.runs.evaluate.judge_probe import find_fallback
from prefboost.runs.evaluate.judging import judge_requests


def test_a_judge_without_log_probs_is_read_in_words_and_found_out_once(tmp_path):
    requests = requests_in(tmp_path)
    said = Scripted.by(in_words).open()
    said.logprobs_of = Scripted.by(weigh=likes_new).open().logprob_of
    with Store(tmp_path / "store") as store:
        verdicts = judge_requests(BENCHMARK, requests, said, store)
        assert find_fallback(requests, said, store) == "the engine gives no log-probs"
        asked = len(said.asked)
        judge_requests(BENCHMARK, requests, said, store)
    assert {one.value for one in verdicts} == {1.0}
    assert asked == len(said.asked) == len(requests)


def test_a_server_that_refuses_log_probs_for_good_is_read_in_words(tmp_path):
    requests = requests_in(tmp_path)
    with FaultyServer(answer=in_words, fields_refused=("logprobs",)) as server, Store(tmp_path / "store") as store:
        verdicts = judge_requests(BENCHMARK, requests, on(server), store)
        reason = find_fallback(requests, on(server), store)
        assert server.calls == 1 + len(requests)
        judge_requests(BENCHMARK, requests, on(server), store)
        assert server.calls == 1 + len(requests), "a second call asks nothing"
        assert forecast_judging(requests, on(server), store).calls == 0
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
        verdicts = judge_requests(BENCHMARK, requests, on(server), store)
        assert find_fallback(requests, on(server), store) == ""
    assert verdicts[0].value is None and "no log-probs" in verdicts[0].fault
    assert all(one.value is not None for one in verdicts[1:])


def test_a_server_that_never_gives_log_probs_is_read_in_words(tmp_path):
    requests = requests_in(tmp_path)
    with FaultyServer(answer=in_words, dialect=without_log_probs) as server, Store(tmp_path / "store") as store:
        verdicts = judge_requests(BENCHMARK, requests, on(server), store)
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
            judge_requests(BENCHMARK, requests, on(server), store)
            server.dialect, server.named = None, ("j", "fp_b")
            more = BENCHMARK.build(*[read_completions(write(tmp_path / "b.json", "old", 14))[0],
                {name: read_completions(write(tmp_path / f"{name}.json", text, 14))[1]
                 for name, text in (("mine", "new"), ("base", "old"))}])  # fmt: skip
            assert {one.value for one in judge_requests(BENCHMARK, more, on(server), store)} == {1.0}
            assert find_fallback(more, on(server), store), "within a call what was found stands"
        with Store(tmp_path / "store") as store:
            verdicts = judge_requests(BENCHMARK, requests, on(server), store)
            assert find_fallback(requests, on(server), store) == ""
            assert all(0.9 < one.value < 0.95 for one in verdicts)
        server.dialect = without_log_probs
        monkeypatch.setattr("prefboost.runs.evaluate.judge_probe.today", lambda: "2099-01-01")
        with Store(tmp_path / "store") as store:
            assert "no log-probs" in find_fallback(more[-3:], on(server), store), "after a week"


def test_a_question_that_is_refused_however_it_is_put_says_nothing_of_log_probs(tmp_path):
    requests = requests_in(tmp_path)
    refused = frozenset({str(requests[0].messages[-1]["content"])})
    likely = {True: {"M": -0.1, "m": -2.4}, False: {"m": -0.1, "M": -2.4}}
    with (
        FaultyServer(refused=refused, likely=lambda prompt: likely[second_is_new(prompt)]) as server,
        Store(tmp_path / "store") as store,
    ):
        verdicts = judge_requests(BENCHMARK, requests, on(server), store)
        assert find_fallback(requests, on(server), store) == ""
    assert verdicts[0].value is None and "this prompt is refused" in verdicts[0].fault
    assert all(one.value > 0.9 for one in verdicts[1:])
