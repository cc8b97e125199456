"""Rules on the form of a whole text: case, JSON, quotes, titles, lists. Definitions: IFEval (arXiv 2311.07911)."""

from __future__ import annotations

import json
import re
from typing import Literal

from pydantic import Field

from prefboost.scoring.rules.rule import Rule, format_count

__all__ = ["JSON", "Lowercase", "NumberedList", "Quoted", "Title", "TwoAnswers", "Uppercase"]


class Lowercase(Rule):
    """No capital letter."""

    kind: Literal["lowercase"] = "lowercase"

    def say(self) -> str:
        """Return the sentence."""
        return "Write everything in lowercase letters."

    def holds(self, text: str) -> bool:
        """Tell whether there are letters and all are small."""
        return text.islower()


class Uppercase(Rule):
    """No small letter."""

    kind: Literal["uppercase"] = "uppercase"

    def say(self) -> str:
        """Return the sentence."""
        return "Write everything in capital letters."

    def holds(self, text: str) -> bool:
        """Tell whether there are letters and all are capital."""
        return text.isupper()


class JSON(Rule):
    """The whole text is JSON."""

    kind: Literal["json"] = "json"

    def say(self) -> str:
        """Return the sentence."""
        return "Write the whole answer as JSON; a markdown code block around it is allowed."

    def holds(self, text: str) -> bool:
        """Tell whether it parses; ```` ```json ```` around it is taken off."""
        bare = re.sub(r"^```(?:json)?", "", text.strip(), flags=re.IGNORECASE).removesuffix("```").strip()
        try:
            json.loads(bare)
        except (ValueError, RecursionError):
            return False
        return True


class Quoted(Rule):
    """The whole text stands in double quotes."""

    kind: Literal["quoted"] = "quoted"

    def say(self) -> str:
        """Return the sentence."""
        return "Put double quotation marks around the whole answer."

    def holds(self, text: str) -> bool:
        """Tell whether its first and its last character are double quotes."""
        bare = text.strip()
        return len(bare) > 1 and bare[0] == '"' and bare[-1] == '"'


class Title(Rule):
    """A title in double angular brackets."""

    kind: Literal["title"] = "title"

    def say(self) -> str:
        """Return the sentence."""
        return "Give it a title in double angular brackets, such as <<joy>>."

    def holds(self, text: str) -> bool:
        """Tell whether there is one, not empty."""
        return any(title.lstrip("<").rstrip(">").strip() for title in re.findall(r"<<[^\n]+>>", text))


class NumberedList(Rule):
    """A numbered list of exactly so many items."""

    kind: Literal["numbered_list"] = "numbered_list"
    count: int = Field(ge=1, description="Number of items, numbered from 1 without a gap.")

    def say(self) -> str:
        """Return the sentence."""
        return f"Write a numbered list of exactly {format_count(self.count, 'item')}: 1., 2., and so on."

    def holds(self, text: str) -> bool:
        """Tell whether the lines that begin with a number and a dot or bracket are numbered 1, 2, ... to the last."""
        numbers = re.findall(r"^[^\S\n]*(\d{1,6})[.)][^\S\n]+\S", text, re.MULTILINE | re.ASCII)
        return [int(number) for number in numbers] == list(range(1, self.count + 1))


class TwoAnswers(Rule):
    """Two different answers, divided by six asterisks."""

    kind: Literal["two_answers"] = "two_answers"

    def say(self) -> str:
        """Return the sentence."""
        return "Give two different answers, separated by six asterisks: ******"

    def holds(self, text: str) -> bool:
        """Tell whether there are exactly two, neither empty; dividers at the very beginning or end are ignored."""
        parts = [part.strip() for part in text.split("******")]
        inner = parts[1:-1]
        answers = [part for part in parts if part]
        return all(inner) and len(answers) == 2 and answers[0] != answers[1]
