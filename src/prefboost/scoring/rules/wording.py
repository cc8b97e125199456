"""Rules on which words, letters and marks are used, and how a text begins and ends. Definitions: IFEval."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from prefboost.scoring.rules.rule import Relation, Rule, compare, format_count

__all__ = [
    "BeginsWith",
    "CapitalWords",
    "ContainsOneOf",
    "EndsWith",
    "ForbidWords",
    "IncludeKeyword",
    "IncludeKeywords",
    "KeywordFrequency",
    "LetterFrequency",
    "Marks",
    "NoCommas",
    "ParagraphBeginsWith",
    "Postscript",
    "Repeats",
]


def _visible(text: str) -> str:
    if not text.strip():
        raise ValueError("needs at least one visible character")
    return text


Phrase = Annotated[str, AfterValidator(_visible)]


def _count_word(keyword: str, text: str, whole: bool) -> int:
    """Count a keyword, upper and lower case alike; whole words where it begins and ends with letters."""
    keyword = keyword.strip()
    left = r"(?<!\w)" if whole and re.match(r"\w", keyword) else ""
    right = r"(?!\w)" if whole and re.search(r"\w$", keyword) else ""
    return len(re.findall(left + re.escape(keyword) + right, text, re.IGNORECASE))


def _join_quoted(words: tuple[str, ...]) -> str:
    return ", ".join(f'"{word}"' for word in words)


class IncludeKeyword(Rule):
    """A keyword that must occur."""

    kind: Literal["include_keyword"] = "include_keyword"
    word: Phrase = Field(description="The word or phrase; upper and lower case are the same.")

    def say(self) -> str:
        """Return the sentence."""
        return f'Use the word "{self.word}".'

    def holds(self, text: str) -> bool:
        """Tell whether it occurs as a whole word."""
        return _count_word(self.word, text, whole=True) > 0


class IncludeKeywords(Rule):
    """Keywords that must all occur."""

    kind: Literal["include_keywords"] = "include_keywords"
    words: tuple[Phrase, ...] = Field(min_length=1, description="The words; upper and lower case are the same.")
    whole: bool = Field(True, description="Count whole words only; IFEval's existence: no.")

    def say(self) -> str:
        """Return the sentence."""
        return f"Use the words {_join_quoted(self.words)}."

    def holds(self, text: str) -> bool:
        """Tell whether each occurs."""
        return all(_count_word(word, text, self.whole) for word in self.words)


class ForbidWords(Rule):
    """Words that must not occur."""

    kind: Literal["forbid_words"] = "forbid_words"
    words: tuple[Phrase, ...] = Field(min_length=1, description="The words; upper and lower case are the same.")

    def say(self) -> str:
        """Return the sentence."""
        return (
            f"Do not use the words {_join_quoted(self.words)}."
            if len(self.words) > 1
            else f"Do not use the word {_join_quoted(self.words)}."
        )

    def holds(self, text: str) -> bool:
        """Tell whether none occurs as a whole word."""
        return not any(_count_word(word, text, whole=True) for word in self.words)


class KeywordFrequency(Rule):
    """Number of times that a keyword occurs, within other words too."""

    kind: Literal["keyword_frequency"] = "keyword_frequency"
    word: Phrase = Field(description="The keyword; upper and lower case are the same.")
    relation: Relation = Field("at least", description="at least, at most or exactly.")
    count: int = Field(ge=0, description="Number of occurrences.")

    def say(self) -> str:
        """Return the sentence."""
        return f'Use the word "{self.word}" {self.relation} {format_count(self.count, "time")}.'

    def holds(self, text: str) -> bool:
        """Tell whether the count fits."""
        return compare(_count_word(self.word, text, whole=False), self.relation, self.count)


class LetterFrequency(Rule):
    """Number of times that a letter or other character occurs."""

    kind: Literal["letter_frequency"] = "letter_frequency"
    letter: str = Field(min_length=1, max_length=1, description="One character; upper and lower case are the same.")
    relation: Relation = Field("at least", description="at least, at most or exactly.")
    count: int = Field(ge=0, description="Number of occurrences.")

    def say(self) -> str:
        """Return the sentence."""
        return f'Use the letter "{self.letter}" {self.relation} {format_count(self.count, "time")}.'

    def holds(self, text: str) -> bool:
        """Tell whether the count fits."""
        return compare(text.lower().count(self.letter.lower()), self.relation, self.count)


class Marks(Rule):
    """Number of question or exclamation marks."""

    kind: Literal["marks"] = "marks"
    mark: Literal["?", "!"] = Field(description="Question or exclamation mark.")
    relation: Relation = Field("at least", description="at least, at most or exactly.")
    count: int = Field(ge=0, description="Number of them.")

    def say(self) -> str:
        """Return the sentence."""
        name = {"?": "question mark", "!": "exclamation mark"}[self.mark]
        return f"Use {self.relation} {format_count(self.count, name)}."

    def holds(self, text: str) -> bool:
        """Tell whether the count fits."""
        return compare(text.count(self.mark), self.relation, self.count)


class CapitalWords(Rule):
    """Number of words in capital letters throughout."""

    kind: Literal["capital_words"] = "capital_words"
    relation: Relation = Field("at least", description="at least, at most or exactly.")
    count: int = Field(ge=0, description="Number of them.")

    def say(self) -> str:
        """Return the sentence."""
        return f"Write {self.relation} {format_count(self.count, 'word')} in capital letters."

    def holds(self, text: str) -> bool:
        """Tell whether the count fits; a hyphenated word is one."""
        tokens = re.findall(r"\w+(?:-\w+)*", text)
        return compare(sum(token.isupper() for token in tokens), self.relation, self.count)


class NoCommas(Rule):
    """No comma anywhere."""

    kind: Literal["no_commas"] = "no_commas"

    def say(self) -> str:
        """Return the sentence."""
        return "Do not use any commas."

    def holds(self, text: str) -> bool:
        """Tell whether there is none."""
        return "," not in text


class EndsWith(Rule):
    """The phrase that the text ends with."""

    kind: Literal["ends_with"] = "ends_with"
    phrase: Phrase = Field(description="The last words, marks included; upper and lower case are the same.")

    def say(self) -> str:
        """Return the sentence."""
        return f'End with exactly these words: "{self.phrase}"'

    def holds(self, text: str) -> bool:
        """Tell whether it does; quotes around the whole text do not count."""
        return text.strip().strip('"').lower().endswith(self.phrase.strip().lower())


class BeginsWith(Rule):
    """The phrase that the text begins with."""

    kind: Literal["begins_with"] = "begins_with"
    phrase: Phrase = Field(description="The first words; upper and lower case are the same.")

    def say(self) -> str:
        """Return the sentence."""
        return f'Begin with exactly these words: "{self.phrase}"'

    def holds(self, text: str) -> bool:
        """Tell whether it does; quotes around the whole text do not count."""
        return text.strip().lstrip('"').lower().startswith(self.phrase.strip().lower())


class Repeats(Rule):
    """The request that is repeated, word for word, before the answer."""

    kind: Literal["repeats"] = "repeats"
    request: Phrase = Field(description="The text to repeat first; upper and lower case are the same.")

    def say(self) -> str:
        """Return the sentence."""
        return f"First repeat the following request word for word, then answer it: {self.request}"

    def holds(self, text: str) -> bool:
        """Tell whether the text begins with it."""
        return text.strip().lower().startswith(self.request.strip().lower())


class ParagraphBeginsWith(Rule):
    """The first word of one paragraph, among a fixed number of paragraphs."""

    kind: Literal["paragraph_begins_with"] = "paragraph_begins_with"
    paragraphs: int = Field(ge=1, description="Number of paragraphs, separated by blank lines.")
    paragraph: int = Field(ge=1, description="Number of the paragraph, from 1.")
    word: Phrase = Field(description="Its first word; upper and lower case are the same.")

    def say(self) -> str:
        """Return the sentence."""
        return (
            f"Write exactly {format_count(self.paragraphs, 'paragraph')}, separated by blank lines; "
            f'paragraph {self.paragraph} begins with the word "{self.word}".'
        )

    def holds(self, text: str) -> bool:
        """Tell whether there are so many, and that one begins so."""
        parts = [part.strip() for part in text.split("\n\n") if part.strip()]
        if len(parts) != self.paragraphs or self.paragraph > len(parts):
            return False
        first = re.split(r"[.,?!'\"]", parts[self.paragraph - 1].split()[0].lstrip("'\""), maxsplit=1)[0]
        return first.lower() == self.word.strip().lower()


class Postscript(Rule):
    """A postscript."""

    kind: Literal["postscript"] = "postscript"
    marker: Phrase = Field("P.S.", description="Beginning of the postscript, e.g. P.S. or P.P.S.")

    def say(self) -> str:
        """Return the sentence."""
        return f"Add a postscript at the end that begins with {self.marker}"

    def holds(self, text: str) -> bool:
        """Tell whether the marker occurs; P.S. and P.P.S may be spaced."""
        spaced = {"p.s.": r"p\.\s?s\.", "p.p.s": r"p\.\s?p\.\s?s", "p.p.s.": r"p\.\s?p\.\s?s"}
        marker = self.marker.strip().lower()
        return re.search(spaced.get(marker, re.escape(marker)), text.lower()) is not None


class ContainsOneOf(Rule):
    """One of several fixed answers."""

    kind: Literal["contains_one_of"] = "contains_one_of"
    options: tuple[Phrase, ...] = Field(
        ("My answer is yes.", "My answer is no.", "My answer is maybe."),
        min_length=1,
        description="The answers, exactly as they must stand; default: IFEval's.",
    )

    def say(self) -> str:
        """Return the sentence."""
        return f"Answer with one of the following: {_join_quoted(self.options)}."

    def holds(self, text: str) -> bool:
        """Tell whether one occurs."""
        return any(option in text for option in self.options)
