from __future__ import annotations

import hashlib

import pytest

from prefboost.evaluation.mt_bench.prompts import PROMPTS

# lm-sys/FastChat at 0e6d3e4beaab66f4d3f93db72541a4abab8af28d: system_prompt and prompt_template of
# fastchat/llm_judge/data/judge_prompts.jsonl.
PUBLISHED = {
    "pair-v2": ("8d6df8feee26e1c9", "22f93e573bf9343e"),
    "pair-v2-multi-turn": ("af4a7431af51d6d7", "a962ad885e77f79a"),
    "pair-math-v1": ("0f6f71b71c14a491", "16f835dc77def64b"),
    "pair-math-v1-multi-turn": ("79adeb31a7f50510", "4bf6dac2bb05499f"),
    "single-v1": ("75357d685f238b6a", "0935c7ff79f38d3f"),
    "single-math-v1": ("75357d685f238b6a", "8e11dbbf609a3d6f"),
    "single-v1-multi-turn": ("d1e77aa107f02dd8", "33067cf18206b4ab"),
    "single-math-v1-multi-turn": ("4b8fe8086dbdf4a8", "6a2b8ad2961c275c"),
}


@pytest.mark.parametrize("name", PROMPTS)
def test_wording_is_the_published_one_to_the_byte(name):
    assert tuple(hashlib.sha256(text.encode()).hexdigest()[:16] for text in PROMPTS[name]) == PUBLISHED[name]
