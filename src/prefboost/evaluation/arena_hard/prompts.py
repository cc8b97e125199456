"""Messages to the judge of Arena-Hard-Auto.

Wording: lmarena/arena-hard-auto at 196f6b8: system messages in `utils/judge_utils.py`, the user message in
`config/arena-hard-v0.1.yaml` and `config/arena-hard-v2.0.yaml`; v0.1 of 2024 (`config/judge_config.yaml` at 0489bf3)
has the same words. Licensed under Apache-2.0 by its authors; unchanged.
"""

from __future__ import annotations

__all__ = ["CREATIVE", "HARD", "QUESTION"]

_TASK = (
    "Please act as an impartial judge and evaluate the quality of the responses provided by two AI assistants "
    "to the user prompt displayed below. You will be given assistant A's answer and assistant B's answer. Your "
    "job is to evaluate which assistant's answer is better.\n\n"
)

_CRITERIA = (
    "Then consider if the assistant's answers are helpful, relevant, and concise. Helpful means the answer "
    "correctly responds to the prompt or follows the instructions. Note when user prompt has any ambiguity or "
    "more than one interpretation, it is more helpful and appropriate to ask for clarifications or more "
    "information from the user than providing an answer based on assumptions. Relevant means all parts of the "
    "response closely connect or are appropriate to what is being asked. Concise means the response is clear "
    "and not verbose or excessive.\n\n"
    "Then consider the creativity and novelty of the assistant's answers when needed. Finally, identify any "
    "missing important information in the assistants' answers that would be beneficial to include when "
    "responding to the user prompt.\n\n"
    "After providing your explanation, you must output only one of the following choices as your final verdict "
    "with a label:\n\n1. Assistant A is significantly better: [[A>>B]]\n"
    "2. Assistant A is slightly better: [[A>B]]\n3. Tie, relatively the same: [[A=B]]\n"
    "4. Assistant B is slightly better: [[B>A]]\n5. Assistant B is significantly better: [[B>>A]]\n\n"
    'Example output: "My final verdict is tie: [[A=B]]".'
)
"""Criteria and form of the verdict, in the same words in both system messages."""

HARD = (
    _TASK + "Begin your evaluation by generating your own answer to the prompt. You must provide your answers before "
    "judging any answers.\n\n"
    "When evaluating the assistants' answers, compare both assistants' answers with your answer. You must "
    "identify and correct any mistakes or inaccurate information.\n\n" + _CRITERIA
)
"""System message for prompts with a better and a worse answer: the judge is to answer first."""

CREATIVE = (
    _TASK + "When evaluating the assistants' answers, compare both assistants' answers. You must identify and correct "
    "any mistakes or inaccurate information.\n\n" + _CRITERIA
)
"""System message for creative writing: the judge writes no answer of its own."""

QUESTION = (
    "<|User Prompt|>\n{QUESTION}\n\n<|The Start of Assistant A's Answer|>\n{ANSWER_A}\n"
    "<|The End of Assistant A's Answer|>\n\n<|The Start of Assistant B's Answer|>\n{ANSWER_B}\n"
    "<|The End of Assistant B's Answer|>"
)
"""The user message, with the names QUESTION, ANSWER_A and ANSWER_B."""
