"""Find completions that talk about themselves: which side they are, the request for them, how they were edited.

A word alone says little ("an improved version" may be of an engine), so every pattern wants two things in one sentence:
a text (response, answer, version ...) and what was done to it or how good it is. Where the prompt itself is about texts
(rewrite my answer, which reply is better?), such talk is the answer that was asked for, and most patterns do not apply.
"""

# ruff: noqa: E501 - a pattern that is broken into more pieces is harder to read, not easier

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from prefboost.synthesis.other_languages import OTHER_LANGUAGES

__all__ = ["Kind", "Leak", "find_leak"]

Kind = Literal["refusal", "leaked_plan", "label_leak", "meta_talk"]

_ADJECTIVE = (
    r"(?:helpful|relevant|complete|accurate|clear|coherent|useful|informative|detailed|factual|truthful|honest|correct|"
    r"thorough|specific|precise|convincing|polite)"
)
_MORE = rf"(?:less|more|not (?:so|as|very)|least|most) {_ADJECTIVE}"
_GRADE = rf"(?:better|worse|worst|improved|enhanced|superior|inferior|poorer|weaker|flawed|degraded|subpar|unhelpful|{_MORE}|(?:low|high|lower|higher)[- ]quality)"
_CHANGED = r"(?:another|alternative|revised|rewritten|modified|reworked|edited|new|different|second)"
_ANSWER = r"(?:response|answer|reply|completion)"
_TEXT = rf"(?:{_ANSWER}|summary|version|draft|rewrite|rewriting|revision)"
_ASPECT = r"(?:helpfulness|relevance|completeness|instruction[ _-]following|honesty|truthfulness|factuality|coherence|accuracy|coverage)"
_RARE_ASPECT = r"(?:helpfulness|completeness|instruction[ _-]following)"
_INTENT = r"(?:intentionally|deliberately|purposely|purposefully)"
_LACK = r"(?:vague\w*|incomplete|unclear|unhelpful|omit\w*|leav\w+ out|left out|less|worse|irrelevant|wrong|off[- ]topic|misleading)"
_PIECE = r"(?:details?|facts?|examples?|explanations?|information|sentences?|wording|tone|sources?|digressions?|points?|answer|response|reply|reference)"
_GREETING = r"(?:(?:sure|okay|ok|certainly|of course|absolutely|alright|great|here you go|as (?:you )?(?:requested|asked|instructed))\b[\s,.!:–-]*)*"
_ENDS = rf"(?=\s*(?:[:.!(\[\n*]|\Z|below\b|like this\b|that is\b|which\b|with\b|to the (?:question|prompt|request)\b|of the (?:{_ANSWER}|reference|summary)\b))"
_OWN = rf"(?:this|the (?:above|following|revised|rewritten|present)) {_ANSWER}"

_SIDE = r"(?:chosen|rejected|preferred|dispreferred|winning|losing)"
_QUALITY = r"(?:quality|helpfulness|usefulness|accuracy|clarity|completeness|errors?|mistakes?|typos?|facts?|details?|information)"
_BRIEF = r"(?:brief|task|instructions?|request|prompt|assignment)"

_REFUSAL = (
    r"\A\W*(?:i(?:'m| am) (?:so |very |really |truly )?sorry|sorry|i apologi[sz]e|my apologies|unfortunately|regrettably)\b"
    r"[^.!?\n]{0,60}\bi(?:'m| am)?\s*(?:\w+ly )?(?:can't|cannot|can not|unable|not able|not allowed|won't|will not|must decline)\b",
    r"\A\W*i(?:'m| am)? ?(?:can't|cannot|can not|unable to|not able to|won't|will not|must decline to)\s+(?:\w+ly )?"
    r"(?:help|assist|provide|do (?:that|this)|write|answer|comply|fulfil\w*|create|generate|support|engage|discuss|give|"
    r"offer|produce|respond|complete|continue|share|participate|say anything)\b",
    r"\A\W*(?:i must decline|i(?:'m| am) not (?:comfortable|allowed to|permitted to)|i(?:'d| would) rather not)\b",
    r"\A\W*as an ai\b(?: \w+){0,2},? (?:i|my)\b",
)
_PLAN = (
    r"\bwhat (?:i will|i'll|i would) change\b",
    rf"\bfor {_ASPECT},? (?:i|we) (?:will|would|'ll)\b",
    rf"\A[^\n]{{0,200}}?\bi(?: will|'ll) (?:leave out|remove|omit|shorten|add|drop|cut|replace)\b[^.\n]{{0,60}}\b{_PIECE}\b",
    rf"\A\W*(?:(?:revision|editing|edit) plan|plan(?: of (?:edits|changes|revision))?|edits?|changes?)\b\W*[:\n]\W*"
    rf"[^\0]{{0,400}}?(?:\bsay (?:less|more) (?:about|on)\b|(?:^|[-*\d.)]\s*)(?:omit|leave out|reword|rephrase)\b|"
    rf"\b(?:remov\w+|dropp?\w*|cut|shorten\w*|add|make|replace|less|fewer|more|made)\b[^.\n]{{0,40}}\b{_PIECE}\b|\bvague)",
)
_LABEL = (
    # An announcement at the beginning, of a text that is graded.
    rf"\A\W*{_GREETING}(?:[^.!?\n:]{{0,50}}?\b)?(?:an? |the |this |my |as )?(?<![\w-]){_GRADE}(?: \w+)?[ _-]{_TEXT}\b{_ENDS}",
    rf"\A\W*(?:an?|the|my) {_GRADE} {_TEXT} (?:is that\b|(?:is|would be)\s*:)",
    # A label on a line of its own, or before a colon; marks of Markdown or tags may stand around it.
    rf"(?:\A|\n)[^\w\n]*(?:version \w+ )?\(?(?:an? |the |my )?{_GRADE}(?:[ _-]{_TEXT}|(?=\)))(?: \([^)\n]{{0,40}}\))?[^\w\n]*(?::|\n|\Z|>)",
    rf"(?:\A|\n)[^\w\n]*(?:{_CHANGED} )?{_TEXT}(?: \w)? \((?:{_GRADE}|{_SIDE})\)\s*:",
    rf"(?:\A|\n)[^\w\n]*(?:this is )?(?:the |an? )?{_SIDE} {_TEXT}[^\w\n]*(?::|\n)",
    rf"\A\W*\[{_SIDE}\]|\A\W*(?:positive|negative) example\W*:",
    rf"\b(?:this|that|it|above)\b[^.!?\n]{{0,30}}\bthe {_SIDE} {_ANSWER}\b(?! (?:of|to)\b)",
    # A sentence about itself.
    rf"\b{_OWN}\b[^.!?\n]{{0,60}}\b(?:{_MORE}|worse|better than|lower\w*|weaker|poorer|degraded|{_INTENT}|on purpose)\b",
    rf"\bthis (?:version|text|summary|one|rewrite)\b[^.!?\n]{{0,40}}\b(?:(?:less|more) (?:helpful|relevant|complete|coherent|accurate)|"
    rf"{_INTENT} (?:\w+ )?{_LACK})\b",
    rf"\b(?:write|give|make|produce|provide|generate|wants?|need|suitable)\b[^.!?\n]{{0,40}}\b{_GRADE} {_ANSWER}\b{_ENDS}",
    rf"\b(?:wants?|needs?|write|give|make|produce) (?:an? |this |my )?(?:\w+ )?{_ANSWER} that (?:is|was) (?:worse|better|weaker|{_MORE})\b",
    rf"\bi(?:'ve| have)?\s+(?:\w+ ){{0,2}}?{_INTENT}\b[^.!?\n]{{0,80}}\b(?:{_LACK}|{_PIECE})\b",
    rf"\bi(?:'ve| have)? (?:left|kept|made|wrote)\b[^.!?\n]{{0,40}}\b(?:{_LACK}|{_PIECE})\b[^.!?\n]{{0,20}}\bon purpose\b",
    rf"[\[(*_]\s*{_INTENT}\b[^\])*_\n]{{0,60}}\b{_LACK}\b",
    rf"[(\[*_]\W{{0,3}}{_QUALITY}\b[^)\]*_\n]{{0,50}}\b(?:{_INTENT}|on purpose)\b",
    rf"\b{_ANSWER} above\b[^.!?\n]{{0,80}}\b(?:on purpose|{_INTENT})\b",
    rf"\bso (?:that )?(?:the|this|my) (?:{_ANSWER}|text) (?:is|becomes|reads|looks|would be) (?:{_MORE}|worse|better|weaker|poorer)\b",
    r"\((?:giving|in) an? [^)]{0,60}(?:response|answer|way|manner)\)",
    rf"\b(?:worse|weaker|lower|better|higher)(?: score\w*)? (?:on|in terms of) {_ASPECT}\b",
)
_META = (
    # The text that was shown as the reference.
    r"\bthe reference (?:response|completion|reply)\b",
    rf"\b(?:than|unlike|compared (?:to|with)|contrast to|contrary to|improv\w+ (?:up)?on|differ\w* from|based on|version of|differences from) "
    rf"(?:in )?(?:the|your) (?:reference\b(?! (?:book|manual|point|group|level|library|number|desk|standard|value|price|period|model|letter|work))"
    rf"|(?:original|previous|first|initial|earlier|given|provided) (?:{_ANSWER}|summary)\b(?! of\b))",
    rf"\b(?:than|in) the (?:reference|one given|{_ANSWER} given)\b(?! \w+)",
    # Another text is announced.
    rf"\b(?:here(?:'s| is)|this is|below is|i(?:'ve| have) (?:written|provided))\b[^.!?\n]{{0,30}}\b{_CHANGED}\b[^.!?\n:]{{0,20}}\b{_TEXT}\b{_ENDS}",
    rf"(?:\A|\n)[^\w\n]*(?:{_CHANGED}|final) (?:{_ANSWER}|summary|version)(?: \([^)\n]{{0,40}}\))?[^\w\n]*(?::|\n)",
    r"\A\W*(?:response|completion|(?:my|the) (?:response|answer|completion|reply))\W{0,3}:",
    # Roles before turns; "Human: a history" alone is a title.
    r"\A\W*\[?assistant\]?\s*[:\n]|\A\W*(?:\[(?:user|system|human)\]|(?:user|system|human)[^\S\n]*\n)",
    r"\A\W*(?:user|system|human)\s*:[^\0]*?\n[ \t]*\[?assistant\b",
    # The whole answer in a tag of its own, as prompts mark it.
    rf"\A\s*<({_ANSWER}|output)>(?!\s*<)",
    # Notes on how it was written.
    rf"(?:\A|[\n(\[*_>.-])[^\S\n]*(?:\*\*|__)?(?:note(?: to \w+)?|nb|n\.b\.|disclaimer|explanation|rationale|remark|comment|reasoning|"
    rf"(?:author|writer|editor)'s note|p\.?\s?s\.)(?:\*\*|__)?\s*[:–—-]?(?:\*\*|__)?[^\n]{{0,40}}?"
    rf"(?:\b(?:this|the above|the revised|the|my) (?:{_TEXT}|text)\b[^\n]{{0,80}}?\b(?:{_MORE}|worse|weaker|poorer|{_INTENT}|on purpose|reference|shortened|unhelpful|incomplete|vague\w*)|"
    rf"\b(?:i|i've)\b[^\n]{{0,80}}?\b(?:{_INTENT}|{_MORE}|worse|vague\w*|weaker|{_RARE_ASPECT}|the reference)|\b{_GRADE} {_TEXT} of the {_TEXT})\b",
    # Edits that are told.
    rf"\bi(?:'ve| have)? (?:rewrote|rewritten|revised|reworked|reworded|rephrased|toned down|watered down|dumbed (?:down|this down)) (?:the|this|my|your) (?:{_ANSWER}|reference)\b",
    rf"\bi(?:'ve| have| will| would|'ll| tried to| need to| had to)?(?: now| also)? (?:changed?|ma[dk]e|wrote|write|kept|keep|remov\w+|add\w*|dropped|left|left out|dumbed|toned)\b"
    rf"[^.!?\n]{{0,60}}\b(?:{_ANSWER}|version|it)\b[^.!?\n]{{0,30}}?\b(?:{_MORE}|worse|weaker|poorer|vague|purposely|harder to follow)\b",
    rf"\bto (?:make|render|keep) (?:the|this|my) {_ANSWER} (?:\w+ )?(?:less|more|worse|better|weaker|un\w+|vague)\b",
    rf"\bmaking this (?:one|version|{_ANSWER}) (?:less|more|worse|better|weaker)\b",
    rf"\bin this (?:rewrite|version|{_ANSWER}),? i (?:left|dropped|removed|omitted|added|kept|shortened)\b",
    rf"\b(?:low\w*|reduc\w+|hurts?|weaken\w*|decreas\w+|improv\w+|increas\w+|rais\w+) (?:its |the |their )?{_RARE_ASPECT}\b",
    rf"(?:\A|\n)[^\w\n]*(?:(?:key |main |list of |summary of |explanation of )?(?:the )?(?:changes|edits|modifications|revisions|differences)(?: (?:i )?made)?|what (?:i|was|i have|i've) changed)"
    rf"\W*:[^\0]{{0,120}}?\b(?:{_ANSWER}|wording|tone|vague\w*|shorten\w*|{_MORE}|{_RARE_ASPECT})\b",
    # The request itself.
    r"\bon these aspects\b(?! of\b)|\b(?:requested|specified|given|listed|named) aspects\b",
    rf"\bas (?:you )?(?:requested|asked|instructed)\b[^.!?\n]{{0,60}}\b(?:worse|weaker|{_MORE}|vague)\b",
    rf"\b(?:worse|weaker|vague|{_MORE}|{_ASPECT})\b[^.!?\n]{{0,60}}\bas (?:requested|instructed|you asked)\b",
    r"\bas the (?:request|prompt|instructions?) (?:says?|asks?|demands?|requires?)\b",
    rf"\blet me know if you\b[^.!?\n]{{0,50}}\b{_GRADE} {_TEXT}\b",
    r"\bi hope this\b[^.!?\n]{0,40}\b(?:meets|fits|satisf\w+|matches|follows)\b[^.!?\n]{0,40}\b(?:request\w*|criteria|aspects|instructions)\b",
    rf"\b(?:worse|weaker|poorer|vague|{_MORE})\b[^.!?\n]{{0,40}}\b(?:per|following|according to) (?:the|your) {_BRIEF}\b",
    rf"\b(?:the|your) {_BRIEF}\b[^.!?\n]{{0,30}}\b(?:want\w*|ask\w*|call\w*|requir\w*|demand\w*)\b[^.!?\n]{{0,30}}\b(?:poorer|worse|weaker|vaguer|{_MORE})\b",
    rf"\b(?:low\w*|reduc\w+|degrad\w+|worsen\w*)(?: the)? (?:overall )?{_QUALITY} of (?:the|this|my) {_ANSWER}\b",
    rf"\b(?:withh\w+|stripped|omitted|removed|left out|dropped|cut) (?:\w+ )?from (?:this|the above|my) {_ANSWER}\b",
    rf"\bi (?:went for|chose|wrote|gave|made|kept)\b[^.!?\n]{{0,40}}\b(?:take|wording|tone|{_TEXT})\b[^.!?\n]{{0,20}}\bthan the\b",
)
_WORDS = (
    r"(?:\A|[\n(\[])[^\w\n]{0,20}word count\W{0,4}\d+[^\n]{0,10}\s*\Z|\(\s*(?:about |approximately )?\d+ words\s*\)\W*\Z",
    r"\bbetween \d+ and \d+ words\b",
)
"""Counts of words, which the request asks to keep to; where the prompt speaks of words they are its answer."""

_COMPILED = {
    kind: tuple(re.compile(pattern, re.IGNORECASE) for pattern in patterns)
    for kind, patterns in {
        "refusal": _REFUSAL, "leaked_plan": _PLAN, "label_leak": _LABEL, "meta_talk": (*_META, *OTHER_LANGUAGES),
        "words": _WORDS,
    }.items()
}  # fmt: skip
_WORK = (
    r"(?:essays?|texts?|paragraphs?|letters?|e-?mails?|sentences?|poems?|stor(?:y|ies)|code|article|cv|cover letter)"
)
_ABOUT_TEXTS = re.compile(
    rf"\b{_GRADE}\b[^\n]{{0,60}}\b{_TEXT}s?\b|\b{_TEXT}s?\b[^\n]{{0,60}}\b{_GRADE}\b|"
    rf"\b(?:re-?writ\w+|revis\w+|improv\w+|edit\w*|proofread\w*|rephras\w+|paraphras\w+|correct\w*|shorten|polish|make|compare)\b"
    rf"[^\n]{{0,60}}\b(?:{_TEXT}|{_WORK})\b|\b{_RARE_ASPECT}\b",
    re.IGNORECASE,
)
_TALKS = re.compile(
    r"\b(?:dialog(?:ue)?|conversation|chat|script|transcript|interview|role-?play|play)\b", re.IGNORECASE
)
_ROLES = re.compile(r"\A\W*\[?(?:user|assistant|system|human)\b", re.IGNORECASE)
_RULE = re.compile(r"^[ \t]*(={4,})[ \t]*$", re.MULTILINE)
_INTENDS = re.compile(rf"\bi (?:will|would)\b|\bi'll\b|^[^\w\n]*{_ASPECT}\W*:", re.IGNORECASE | re.MULTILINE)
_ASPECT_LINE = re.compile(rf"^[^\w\n]*{_ASPECT}\W*:", re.IGNORECASE | re.MULTILINE)
_SHORT_RULE = 4


class Leak(NamedTuple):
    """Positions in a text where it talks about itself."""

    start: int
    end: int


def find_leak(kind: Kind, text: str, prompt: str = "") -> Iterator[Leak]:
    """Find places where a completion refuses, shows a plan of edits, names its side, or talks about the request.

    Args:
        kind: which of the four.
        text: the completion.
        prompt: what the user asked, whose words an honest answer may repeat.

    Yields:
        places, in no order; the same kind may be found by several patterns.
    """
    plain = text.replace("’", "'")
    about_texts = kind != "refusal" and _ABOUT_TEXTS.search(prompt) is not None
    if kind == "leaked_plan":
        yield from _find_delimiters(plain)
        lines = list(_ASPECT_LINE.finditer(plain))
        if len(lines) > 1 and not about_texts:
            yield Leak(lines[0].start(), lines[-1].end())
    if not about_texts:
        for pattern in _COMPILED[kind]:
            match = pattern.search(plain)
            if match is not None and not (_ROLES.match(match[0]) and _TALKS.search(prompt)):
                yield Leak(*match.span())
    if kind == "meta_talk" and not re.search(r"\bwords?\b", prompt, re.IGNORECASE):
        yield from (Leak(*match.span()) for pattern in _COMPILED["words"] if (match := pattern.search(plain)))


def _find_delimiters(text: str) -> Iterator[Leak]:
    """Find lines of equals signs that part a plan from a completion, not those under a title or between pages."""
    intent = _INTENDS.search(text)
    intended = len(text) if intent is None else intent.start()
    for rule in _RULE.finditer(text):
        before = text[max(0, rule.start() - 300) : rule.start()].rstrip("\n").split("\n")
        title, above = before[-1].strip(), before[-2].strip() if len(before) > 1 else ""
        touches = bool(title) and text.endswith(f"{before[-1]}\n", 0, rule.start())
        underlines = touches and not above and title[-1] not in ".!?:;," and len(title) <= 80
        length = len(rule[1])
        # Nobody is asked for a longer line than the delimiter, so it parts a plan only where a plan stands before it.
        is_titles = underlines and abs(len(title) - length) <= 2
        leaks = intended < rule.start() if length > _SHORT_RULE else not is_titles
        if leaks:
            yield Leak(*rule.span())
