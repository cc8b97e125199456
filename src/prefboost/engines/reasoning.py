"""Separate what a model thinks from what it answers: the one place where that is decided.

Servers with a reasoning parser send thoughts in a field of their own; all other engines write them into the text,
between markers that differ by model family. `Result` calls `separate_reasoning` on every text, so no engine, recording
or store can pass thoughts on as content.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["SeparatedText", "answer_of", "is_marker", "join_reasoning", "opens_reasoning", "separate_reasoning"]

_PLAIN_TAGS = r"(?:\w{1,20}[:_])?think(?:ing)?|ant_?thinking"
"""Tags that hardly any honest text writes, also with a maker's name; others count at the beginning of a text alone."""
_TAGS = (
    rf"{_PLAIN_TAGS}|thoughts?|thought_process|scratchpad|inner_monologue|reasoning|reflection|analysis|cot|"
    "chain_of_thought|internal_monologue"
)
_ATTRIBUTES = r"(?:\s[^<>\n]{0,80})?"

_OPEN = re.compile(
    rf"<(?:{_TAGS}){_ATTRIBUTES}>"
    r"|\[THINK\]|◁think▷"  # Mistral; Kimi
    # Cohere; Sky-T1 and its kin; bars of DeepSeek's vocabulary
    r"|<[|｜](?:(?:start|begin|begin[_▁]of)[_▁])?(?:think|thinking|thought|reasoning)(?:[_▁](?:start|begin))?[|｜]>"
    r"|<\|channel>\s*thought\n?"  # Gemma
    r"|(?:<\|start\|>assistant)?<\|channel\|>(?:analysis|commentary)[^<]{0,60}<\|message\|>"  # gpt-oss
    r"|<unused94>(?:thought)?",  # MedGemma
    re.IGNORECASE,
)
_CLOSE = re.compile(
    rf"</(?:{_TAGS})\s*>"
    r"|\[/THINK\]|◁/think▷"
    r"|<[|｜](?:(?:end|end[_▁]of)[_▁]|/)(?:think|thinking|thought|reasoning)[|｜]>"
    r"|<[|｜](?:think|thinking|thought|reasoning)[_▁]end[|｜]>"
    r"|<channel\|>"
    r"|\[BEGIN FINAL RESPONSE\]"  # Apriel, which marks no beginning of its thoughts
    r"|(?:<\|end\|>)?(?:<\|start\|>assistant)?<\|channel\|>final[^<]{0,60}<\|message\|>"
    r"|<unused95>",
    re.IGNORECASE,
)
_PLAIN = re.compile(rf"</?(?:{_PLAIN_TAGS}){_ATTRIBUTES}>|[\[◁<](?!/?(?:{_TAGS}){_ATTRIBUTES}>)", re.IGNORECASE)
_CODE = re.compile(r"(?P<fence>`{3,}|~{3,}).*?(?:(?P=fence)|\Z)|`[^`\n]+`", re.DOTALL)
_WRAPS = tuple(
    (re.compile(rf"^\s*{start}", re.IGNORECASE), re.compile(rf"{end}\s*$", re.IGNORECASE))
    for start, end in (
        (r"<\|START_RESPONSE\|>", r"<\|END_RESPONSE\|>"),
        (r"<\|begin_of_solution\|>", r"<\|end_of_solution\|>"),
        (r"", r"\[END FINAL RESPONSE\](?:\s*<\|end\|>)?"),
        (r"<response>", r"</response>"),
        (r"<answer>", r"</answer>"),
    )
)
"""Marks around the answer of models that mark it as they mark their thoughts."""

_ENDS = re.compile(r"\s*(?:<\|(?:return|end|call)\|>\s*)+$")
_SAID_BEFORE = re.compile(r"[\w,;:(\"'“‘][^\S\n]*$")
_SAID_AFTER = re.compile(r"[^\S\n]+[a-z(]|[^\S\n]*[,.;:)\"'”’]")


@dataclass(frozen=True)
class SeparatedText:
    """A text of a model in its two parts.

    Args:
        answer: what it says; the whole text, unchanged, where nothing marks a thought.
        reasoning: what it thought; None where nothing marks a thought, "" where the marks hold nothing.
        is_open: whether the thought has no end: the text was cut in the middle of it, so there is no answer behind it.
    """

    answer: str
    reasoning: str | None = None
    is_open: bool = False


def separate_reasoning(text: str, *, opened: bool = False) -> SeparatedText:
    """Separate thoughts from the answer.

    A mark of an opened thought counts at the beginning of the text, and, for marks that only models write, anywhere
    outside of code where no sentence talks about the mark. A mark that closes a thought nobody opened makes everything
    before it a thought: many chat templates write the opening mark into the prompt. A thought without an end reaches to
    the end of the text.

    Args:
        text: as the model wrote it.
        opened: whether the prompt ends inside a thought (see `opens_reasoning`).
    """
    # Most texts hold no mark, and looking for the characters that begin one is twenty times as fast as for marks.
    if not opened and (
        ("<" not in text and "[" not in text and "◁" not in text)
        or (not _OPEN.search(text) and not _CLOSE.search(text))
    ):
        return SeparatedText(text)
    thoughts: list[str] = []
    answers: list[str] = []
    at, inside, has_marks = 0, opened, opened
    while True:
        # Inside of a thought every closing mark counts: thoughts hold half-written code.
        # Marks of different makers close each other's thoughts: fine-tuned models mix them.
        mark = _CLOSE.search(text, at) if inside else _find_mark(text, at)
        if mark is None:
            break
        has_marks = True
        closes = inside or _CLOSE.fullmatch(mark[0]) is not None
        piece = text[at : mark.start()]
        if closes and not inside:
            # Nobody opened it, so what was taken for the answer up to here was thought.
            thoughts += [*answers, piece]
            answers = []
        else:
            (thoughts if inside else answers).append(piece)
        inside, at = not closes, mark.end()
    (thoughts if inside else answers).append(text[at:])
    if not has_marks:
        return SeparatedText(text)
    reasoning = "\n\n".join(part for each in thoughts if (part := _OPEN.sub("", each).strip()))
    answer = "\n\n".join(part for each in answers if (part := each.strip()))
    # The same models mark the answer too, and say its end in words that a tokenizer takes for text.
    answer = _ENDS.sub("", answer)
    for start, end in _WRAPS:
        if start.search(answer) and end.search(answer):
            answer = end.sub("", start.sub("", answer)).strip()
            break
    return SeparatedText(answer, reasoning, inside)


def answer_of(text: str) -> str:
    """Return the text without thoughts; unchanged where nothing marks a thought."""
    return separate_reasoning(text).answer


def opens_reasoning(rendered: str) -> bool:
    """Tell whether a rendered prompt ends inside a thought, as templates of DeepSeek-R1 and its kin let it."""
    # Templates write a newline behind the mark; what stands further up is the conversation's.
    tail = rendered[-200:].rstrip()
    mark = next((mark for mark in _OPEN.finditer(tail) if mark.end() == len(tail)), None)
    return mark is not None


def is_marker(token: str) -> bool:
    """Tell whether a token of a vocabulary is a mark, or a part of a mark of several tokens."""
    return token in _PARTS or any(marks.fullmatch(token) for marks in (_OPEN, _CLOSE))


_PARTS = frozenset({"<|channel|>", "<|message|>", "<|start|>", "<|START_RESPONSE|>", "<|END_RESPONSE|>",
                    "<|begin_of_solution|>", "<|end_of_solution|>"})  # fmt: skip


def join_reasoning(*parts: str | None) -> str | None:
    """Join thoughts of several places into one text; None where there are none."""
    texts = [part for part in parts if part is not None]
    return "\n\n".join(part.strip() for part in texts if part.strip()) if texts else None


def _find_mark(text: str, start: int) -> re.Match[str] | None:
    """Find the next real mark outside of a thought: not quoted, not in code, not an honest text's own tag."""
    # Code quotes marks of other languages (XML, templates) without thinking.
    code = [span.span() for span in _CODE.finditer(text, start)]
    # Opening and closing marks are looked for by two patterns, and the first in the text decides.
    marks = sorted(
        (mark for marks in (_OPEN, _CLOSE) for mark in marks.finditer(text, start)), key=lambda mark: mark.start()
    )
    for mark in marks:
        # A mark at the very beginning is the model's own, whatever follows it.
        leads = not text[start : mark.start()].strip() and _OPEN.fullmatch(mark[0]) is not None
        if leads:
            return mark
        in_code = any(first <= mark.start() < last for first, last in code)
        # A sentence talks about the mark: words come before and after it on its line.
        is_mentioned = _SAID_BEFORE.search(text[max(0, mark.start() - 40) : mark.start()]) and _SAID_AFTER.match(
            text, mark.end()
        )
        if not in_code and _PLAIN.match(mark[0]) and not is_mentioned:
            return mark
    return None
