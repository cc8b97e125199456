"""Rules that count words, sentences, paragraphs, bullets and the like. Definitions: IFEval (arXiv 2311.07911)."""

from __future__ import annotations

import re
from typing import Literal, Self

from pydantic import Field, model_validator

from prefboost.scoring.rules.rule import Relation, Rule, compare, format_count, words_of
from prefboost.scoring.rules.sentences import sentences_of

__all__ = [
    "AtLeastWords",
    "AtMostWords",
    "BetweenWords",
    "Bullets",
    "ExactSentences",
    "Highlights",
    "Paragraphs",
    "Placeholders",
    "Sections",
    "Sentences",
]


class AtMostWords(Rule):
    """At most so many words."""

    kind: Literal["at_most_words"] = "at_most_words"
    count: int = Field(ge=1, description="Most words; a word is a run of letters, digits and underscores (IFEval).")

    def say(self) -> str:
        """Return the sentence."""
        return f"Use at most {format_count(self.count, 'word')}."

    def holds(self, text: str) -> bool:
        """Tell whether there are at most so many words, and there is text at all."""
        return bool(text.strip()) and len(words_of(text)) <= self.count


class AtLeastWords(Rule):
    """At least so many words."""

    kind: Literal["at_least_words"] = "at_least_words"
    count: int = Field(ge=1, description="Fewest words; a word is a run of letters, digits and underscores (IFEval).")

    def say(self) -> str:
        """Return the sentence."""
        return f"Use at least {format_count(self.count, 'word')}."

    def holds(self, text: str) -> bool:
        """Tell whether there are at least so many words."""
        return len(words_of(text)) >= self.count


class BetweenWords(Rule):
    """Between two numbers of words, both included."""

    kind: Literal["between_words"] = "between_words"
    low: int = Field(ge=1, description="Fewest words.")
    high: int = Field(ge=1, description="Most words.")

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}; swap them")
        return self

    def say(self) -> str:
        """Return the sentence."""
        return f"Use between {self.low} and {self.high} words."

    def holds(self, text: str) -> bool:
        """Tell whether the number of words lies in the range."""
        return self.low <= len(words_of(text)) <= self.high


class ExactSentences(Rule):
    """Exactly so many sentences."""

    kind: Literal["exact_sentences"] = "exact_sentences"
    count: int = Field(ge=1, description="Number of sentences.")

    def say(self) -> str:
        """Return the sentence."""
        return f"Write exactly {format_count(self.count, 'sentence')}."

    def holds(self, text: str) -> bool:
        """Tell whether there are exactly so many."""
        return len(sentences_of(text)) == self.count


class Sentences(Rule):
    """At least or at most so many sentences."""

    kind: Literal["sentences"] = "sentences"
    relation: Relation = Field("at least", description="at least, at most or exactly.")
    count: int = Field(ge=1, description="Number of sentences.")

    def say(self) -> str:
        """Return the sentence."""
        return f"Write {self.relation} {format_count(self.count, 'sentence')}."

    def holds(self, text: str) -> bool:
        """Tell whether the number of sentences fits."""
        return compare(len(sentences_of(text)), self.relation, self.count)


class Paragraphs(Rule):
    """Exactly so many paragraphs."""

    kind: Literal["paragraphs"] = "paragraphs"
    count: int = Field(ge=1, description="Number of paragraphs.")
    divider: Literal["blank line", "***"] = Field("blank line", description="Separator; IFEval: ***.")

    def say(self) -> str:
        """Return the sentence."""
        how = "a blank line" if self.divider == "blank line" else "the markdown divider ***"
        return f"Write exactly {format_count(self.count, 'paragraph')}, separated by {how}."

    def holds(self, text: str) -> bool:
        """Tell whether there are exactly so many; an empty paragraph between two dividers breaks the rule."""
        pattern = r"\n[^\S\n]*\n\s*" if self.divider == "blank line" else r"\s?\*\*\*\s?"
        parts = re.split(pattern, text)
        inner = parts[1:-1]
        return all(part.strip() for part in inner) and sum(bool(part.strip()) for part in parts) == self.count


class Bullets(Rule):
    """Exactly so many markdown bullet points."""

    kind: Literal["bullets"] = "bullets"
    count: int = Field(ge=1, description="Number of lines that begin with * or -.")

    def say(self) -> str:
        """Return the sentence."""
        return f'Write exactly {format_count(self.count, "bullet point")}, each on a line that begins with "* ".'

    def holds(self, text: str) -> bool:
        """Tell whether exactly so many lines begin with ``*`` (not ``**``) or ``-``."""
        lines = (line.lstrip() for line in text.split("\n"))
        return sum(bool(re.match(r"\*[^*]|-", line)) for line in lines) == self.count


class Sections(Rule):
    """At least so many numbered sections, each headed by a word and its number."""

    kind: Literal["sections"] = "sections"
    heading: str = Field("Section", min_length=1, description="Word before each number, e.g. Section 1.")
    count: int = Field(ge=1, description="Fewest sections.")

    def say(self) -> str:
        """Return the sentence."""
        return (
            f"Divide the text into at least {format_count(self.count, 'section')}, headed {self.heading} 1 and so on."
        )

    def holds(self, text: str) -> bool:
        """Tell whether the heading stands before a number so many times."""
        return len(re.findall(rf"{re.escape(self.heading.strip())}\s?\d+", text)) >= self.count


class Highlights(Rule):
    """At least so many passages highlighted as in markdown."""

    kind: Literal["highlights"] = "highlights"
    count: int = Field(ge=1, description="Fewest passages between * and *, or ** and **.")

    def say(self) -> str:
        """Return the sentence."""
        return f"Highlight at least {format_count(self.count, 'passage')} with markdown, like *this*."

    def holds(self, text: str) -> bool:
        """Tell whether there are so many, empty ones not counted."""
        single = re.findall(r"\*([^\n*]*)\*", text)
        double = re.findall(r"\*\*([^\n*]*)\*\*", text)
        return sum(bool(passage.strip()) for passage in [*single, *double]) >= self.count


class Placeholders(Rule):
    """At least so many placeholders in square brackets."""

    kind: Literal["placeholders"] = "placeholders"
    count: int = Field(ge=1, description="Fewest placeholders such as [address].")

    def say(self) -> str:
        """Return the sentence."""
        what = format_count(self.count, "placeholder")
        return f"Use at least {what} in square brackets, such as [address]."

    def holds(self, text: str) -> bool:
        """Tell whether there are so many."""
        return len(re.findall(r"\[[^\]\n]*\]", text)) >= self.count
