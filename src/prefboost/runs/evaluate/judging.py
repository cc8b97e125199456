"""Ask a judge a benchmark's questions through the store, and read its replies as verdicts.

A benchmark that reads log-probs gets them where the judge gives them; elsewhere the judge's words are read instead
(`prefboost.runs.evaluate.judge_probe`), and the results say so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from prefboost.engines.ask import Inquiry, Reply, Unasked
from prefboost.engines.call_session import CallSession
from prefboost.engines.engine import Engine, Failure, Result
from prefboost.engines.store.interface import AnswerStore
from prefboost.engines.store.sightings import Watch, list_reply_names, today
from prefboost.evaluation.benchmark import Benchmark, JudgeReply, JudgeRequest, JudgeVerdict
from prefboost.progress import Tell, WorkProgress
from prefboost.runs.evaluate.answering import explain_unfinished
from prefboost.runs.evaluate.judge_probe import build_request, choose_reading, find_fallback

__all__ = ["judge_requests"]

TOO_LONG = "the question and its answer exceed what the judge can see"
"""Fault of a request that is not asked: a cut question would be another one."""


def judge_requests(
    benchmark: Benchmark,
    requests: Sequence[JudgeRequest],
    engine: Engine,
    store: AnswerStore,
    *,
    tell: Tell = lambda _: None,
    clock: Callable[[], str] = today,
) -> list[JudgeVerdict]:
    """Return a verdict for each request, in their order.

    Args:
        benchmark: reads the replies.
        requests: requests to the judge; those with a value or a fault make no call.
        engine: the judge.
        store: open store. Replies that it holds are not asked for; after a kill the same call resumes from it.
        tell: is called with the progress after every batch.
        clock: returns the date, which is stored with the name under which a server replies.

    Raises:
        RunError: the budget is spent; replies that came stay in the store.
        ModelError: the judge cannot be reached.
    """
    # 1. Which requests need a call? Equal completions tie by themselves, missing ones cannot be judged.
    questions = [at for at, request in enumerate(requests) if request.needs_call]

    # 2. Ask. Requests of one group differ in their messages alone, so that an engine can batch them.
    watch = Watch(engine, store, clock)
    work = WorkProgress("judge", len(questions))
    inquiry = Inquiry(engine, CallSession(store, tell=tell), work, watch=watch, too_long=TOO_LONG)
    replies: dict[int, JudgeReply] = {}
    groups: dict[tuple[object, ...], list[int]] = {}
    for at in questions:
        request = requests[at]
        groups.setdefault((request.choices, request.max_tokens, request.temperature), []).append(at)
    for group in groups.values():
        members = [requests[at] for at in group]
        reading = choose_reading(members[0], in_words=bool(find_fallback(members, engine, store)))
        for batch in inquiry.ask([build_request(member) for member in members], reading):
            replies.update((group[index], _read_reply(reply)) for index, reply in batch)
    if list_reply_names(engine):
        watch.look()  # the last batch may have come after the last look
    if len(replies) < len(questions):
        raise explain_unfinished(engine, "the judge", len(replies), len(questions))

    # 3. Read. A request without a call has an empty reply; the benchmark takes its value or fault.
    verdicts = [benchmark.parse(request, replies.get(at, JudgeReply())) for at, request in enumerate(requests)]
    return [replace(verdict, judge=engine.identity) for verdict in verdicts]


def _read_reply(reply: Reply) -> JudgeReply:
    if isinstance(reply, Unasked | Failure):
        return JudgeReply(fault=reply.reason)
    if not isinstance(reply, Result):
        return JudgeReply(logprobs=reply)
    # A cut answer may end before its verdict, and an earlier label in it would be read as the verdict.
    if reply.finish_reason == "length":
        return JudgeReply(reply.text, fault="the answer was cut at max_tokens")
    return JudgeReply(reply.text, fault="the judge thought and gave no answer" if reply.only_thinks else "")
