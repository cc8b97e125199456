"""Patterns of completions that talk about themselves in other languages than English.

Each language gives words for a text, for how good it is, and for intent. Two patterns are made of them: a graded text
is announced before a colon, and a text is said to be worse or better by intention.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["OTHER_LANGUAGES"]


class _Words(NamedTuple):
    text: str
    grade: str
    intent: str
    spaced: bool = True
    """True where spaces part the words of the language, so that patterns can ask for word bounds."""

    def build_patterns(self) -> tuple[str, str]:
        """Build the pattern of an announcement or a label, and that of a grade by intention."""
        edge = r"\b" if self.spaced else ""
        text, grade, intent = (f"{edge}(?:{part}){edge}" for part in self[:3])
        either = rf"(?:{grade}\s?{text}|{text}\s?{grade})"
        sentence = r"[^.!?\n。]{0,60}?"
        return (
            # Between the text and its colon there is room for a word at most.
            rf"(?:\A|\n)[^\w\n]{{0,20}}[^.!?\n:：。]{{0,24}}?{either}[^.!?,\n:：。]{{0,8}}[:：]",
            rf"{text}{sentence}{intent}{sentence}{grade}|{intent}{sentence}{text}{sentence}{grade}",
        )


_LANGUAGES = {
    "de": _Words(
        "antwort|fassung|version|zusammenfassung",
        r"(?:besser|schlechter|verbessert|verschlechtert|überarbeitet|schwächer)\w*|weniger \w+",
        "absichtlich|bewusst|gezielt|mit absicht",
    ),
    "fr": _Words(
        "réponse|version|résumé",
        r"meilleure?|moins bonne?|pire|améliorée?|révisée?|dégradée?|(?:moins|plus) \w+",
        "volontairement|intentionnellement|délibérément|exprès",
    ),
    "es": _Words(
        "respuesta|versión|resumen",
        r"mejor(?:ad[ao])?|peor|empeorad[ao]|revisad[ao]|(?:menos|más) \w+",
        r"intencionad\w+|intencionalmente|deliberadamente|a propósito|adrede",
    ),
    "it": _Words(
        "risposta|versione|riassunto",
        r"migliore|peggiore|migliorat[ao]|peggiorat[ao]|rivist[ao]|(?:meno|più) \w+",
        "volutamente|intenzionalmente|deliberatamente|apposta",
    ),
    "pt": _Words(
        "resposta|versão|resumo",
        r"melhor(?:ad[ao])?|pior|piorad[ao]|revisad[ao]|(?:menos|mais) \w+",
        "intencionalmente|deliberadamente|propositalmente|propositadamente|de propósito",
    ),
    "nl": _Words(
        "antwoord|versie|samenvatting",
        r"(?:beter|slechter|verbeterd|herzien)\w*|minder \w+",
        "opzettelijk|bewust|expres",
    ),
    "pl": _Words(
        r"odpowied[zź]\w*|wersj\w+", r"lepsz\w+|gorsz\w+|ulepszon\w+|poprawion\w+|mniej \w+", "celowo|umyślnie"
    ),
    "ru": _Words(
        r"ответ\w*|верси\w+",
        r"лучш\w+|худш\w+|улучшенн\w+|ухудшенн\w+|исправленн\w+|менее \w+|хуже",
        "намеренно|умышленно|специально|нарочно",
    ),
    "zh": _Words(
        "回答|回复|回覆|答案|版本",
        "更?(?:较差|較差|较好|較好|糟糕|差|好)的|改[进進]后?的|不[够夠]",
        "故意|有意|刻意",
        spaced=False,
    ),
    "ja": _Words(
        "回答|応答|返答", "より(?:悪い|良い|劣る)|改善された|劣った|不十分", "わざと|意図的に|故意に", spaced=False
    ),
    "ko": _Words("답변|응답|대답", "더 (?:나쁜|좋은|나은)|개선된|부족", "일부러|의도적으로|고의로", spaced=False),
}


OTHER_LANGUAGES = tuple(pattern for words in _LANGUAGES.values() for pattern in words.build_patterns())
"""Regular expressions, to be compiled without regard to case."""
