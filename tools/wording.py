"""Rules of wording: find the names, docstrings, comments and parameter lists that break the house's style.

`tools/budgets.py` counts the places per package and compares the counts with those in tools/budgets.toml.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

PARAMETERS = 6


def split_words(text: str) -> frozenset[str]:
    """Split a text at white space into a set of words."""
    return frozenset(text.split())


VERBS = split_words((Path(__file__).parent / "verbs.txt").read_text(encoding="utf-8"))
"""Verbs that may begin a function's docstring, in the imperative."""

COMMENT_SHARE = dict.fromkeys(("packing", "training", "statistics", "engines"), 0.04)
LEAST_COMMENT_SHARE = 0.01
"""Lines with a comment per line of code: 4 % where the mathematics and the concurrency are, 1 % elsewhere."""

BANNED_VARIABLES = split_words(
    "found told made one own known kept wanted longer harder dealt said asked given shown meant too more"
)
VAGUE_WORDS = split_words(
    "one own all more most too other both each any some same about whole alone apart further now then again once here "
    "there this that it thing things stuff what how why which whether longer harder"
)
IRREGULAR_PARTICIPLES = split_words(
    "said told made found kept known written drawn given shown taken held begun meant sent fed left lost met built "
    "bought brought caught chosen dealt done driven felt forgotten frozen gone grown heard hidden laid led lent paid "
    "seen sold spent spoken stood sworn taught thought thrown understood woken worn won bound sought"
)
NOT_PARTICIPLES = split_words(
    "need feed seed embed speed exceed proceed shed red hundred indeed string bring ring sing king thing ceiling "
    "spring nothing anything everything"
)
INHERITED = frozenset({"training_step"})
"""Methods that override those of a library, which named them."""

NOUN_CLAUSES = split_words("what whether how why which where who whom")
DIRECTIVE = re.compile(r"#\s*(noqa|type:|fmt:|pragma|ruff:|mypy:)")

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Fault:
    """One place that breaks a rule."""

    rule: str
    package: str
    where: str


RULES = {
    "shared_names": "public functions and classes whose name another module uses too",
    "participle_functions": "functions named by a participle",
    "vague_functions": "functions named by a pronoun, a determiner or an adverb",
    "banned_variables": "variables and parameters whose name says nothing of what they hold",
    "docstring_mood": "docstrings that are noun clauses, or of a function and not imperative",
    "wide_functions": f"functions with more than {PARAMETERS} parameters once tuples are opened",
    "single_call_functions": "private functions that one place uses",
    "missing_comments": "comment lines that are missing from the package's share",
}
"""Rule -> what it counts."""


def find_faults(modules: Mapping[str, str]) -> list[Fault]:
    """Find every place that breaks a rule.

    Args:
        modules: path below the source folder, e.g. ``prefboost/losses/dpo.py`` -> text.
    """
    faults: list[Fault] = []
    definitions: dict[str, list[tuple[str, str]]] = defaultdict(list)
    comments: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    uses: Counter[str] = Counter()
    private: list[tuple[str, str, str]] = []
    for path, text in modules.items():
        tree, package = ast.parse(text), find_package(path)
        for node in tree.body:
            if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
                definitions[node.name].append((path, f"{path}:{node.lineno} {node.name}"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Name | ast.Attribute):
                uses[node.id if isinstance(node, ast.Name) else node.attr] += 1
            elif isinstance(node, Function) and node.name.startswith("_") and not node.name.startswith("__"):
                private.append((node.name, package, f"{path}:{node.lineno} {node.name}"))
        lines = text.splitlines()
        # A verb of the command line has its options as parameters; elsewhere a comment gives the reason.
        excused = {number for number, line in enumerate(lines, 1) if package == "cli" or "noqa: PLR0913" in line}
        faults += [
            Fault(rule, package, f"{path}:{line} {place}")
            for rule, line, place in _find_module_faults(tree)
            if rule != "wide_functions" or line not in excused
        ]
        totals = comments[package]
        totals[0] += count_comments(text)
        totals[1] += len(lines)
    faults += [
        Fault("shared_names", find_package(path), place)
        for places in definitions.values()
        if len({path for path, _ in places}) > 1
        for path, place in places
    ]
    # Uses are counted by name over all modules: a name that two functions share counts for both, in their favour.
    faults += [Fault("single_call_functions", package, place) for name, package, place in private if uses[name] == 1]
    for package, (count, total) in comments.items():
        share = COMMENT_SHARE.get(package, LEAST_COMMENT_SHARE)
        place = f"{package}: {count} of {total} lines carry a comment, {share:.0%} should"
        faults += [Fault("missing_comments", package, place)] * max(0, round(share * total) - count)
    return faults


def find_package(path: str) -> str:
    """Return the package below the root that a module belongs to; the root itself for ``prefboost/errors.py``."""
    parts = path.split("/")
    return parts[1] if len(parts) > 2 else parts[0]


def count_comments(text: str) -> int:
    """Count lines that carry a comment for a reader; directives to tools are none."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return sum(token.type == tokenize.COMMENT and not DIRECTIVE.match(token.string) for token in tokens)


def _find_module_faults(tree: ast.Module) -> Iterator[tuple[str, int, str]]:
    """Yield rule, line and description of each fault that one module shows by itself."""
    aliases = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    yield from _find_noun_clauses(tree)
    fields = {id(name) for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for name in _list_fields(node)}
    for node in ast.walk(tree):
        # Fields of a class are columns and keys of files, which outlive a taste in words.
        if id(node) not in fields:
            for name, line in _list_bound_names(node):
                if name.strip("_") in BANNED_VARIABLES:
                    yield "banned_variables", line, name
        if isinstance(node, Function):
            yield from _find_function_faults(node, aliases)


def _find_function_faults(node: Function, aliases: Mapping[str, ast.expr]) -> Iterator[tuple[str, int, str]]:
    if not is_property(node):
        rule = judge_function_name(node.name)
        if rule:
            yield rule, node.lineno, node.name
        text = ast.get_docstring(node)
        if text and not is_imperative(text):
            yield "docstring_mood", node.lineno, f"{node.name}: {text.splitlines()[0]}"
    parameters = count_parameters(node, aliases)
    if parameters > PARAMETERS:
        yield "wide_functions", node.lineno, f"{node.name}: {parameters} parameters"


def _list_fields(node: ast.ClassDef) -> Iterator[ast.AST]:
    for child in node.body:
        if isinstance(child, ast.AnnAssign):
            yield child.target
        elif isinstance(child, ast.Assign):
            yield from child.targets


def _list_bound_names(node: ast.AST) -> Iterator[tuple[str, int]]:
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id, node.lineno
    elif isinstance(node, ast.arg):
        yield node.arg, node.lineno
    elif isinstance(node, ast.ExceptHandler) and node.name:
        yield node.name, node.lineno


def is_property(node: Function) -> bool:
    """Tell whether a method is read like a value, so that a noun names it."""
    return any(re.search(r"property\b|\.setter\b", ast.unparse(mark)) for mark in node.decorator_list)


def judge_function_name(name: str) -> str:
    """Return the rule that a function's name breaks; an empty string for none."""
    if name.startswith("__") or name in INHERITED:
        return ""
    word = name.strip("_").split("_")[0].lower()
    if word in VAGUE_WORDS:
        return "vague_functions"
    regular = len(word) > 3 and word.endswith(("ed", "ing")) and word not in NOT_PARTICIPLES
    return "participle_functions" if regular or word in IRREGULAR_PARTICIPLES else ""


def is_imperative(docstring: str) -> bool:
    """Tell whether a docstring begins with an imperative: a verb of the list, and no ``Score of a completion``."""
    words = docstring.split()
    return words[0].strip("`*,.:;").lower() in VERBS and words[1:2] not in (["of"], ["->"])


def _find_noun_clauses(tree: ast.Module) -> Iterator[tuple[str, int, str]]:
    """Find noun clauses above modules, classes and under attributes; functions are checked for the imperative."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef):
            continue
        for child in node.body:
            if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
                text = child.value.value
                if isinstance(text, str) and text.split() and text.split()[0].strip(",.:").lower() in NOUN_CLAUSES:
                    yield "docstring_mood", child.lineno, text.strip().splitlines()[0]


def count_parameters(node: Function, aliases: Mapping[str, ast.expr]) -> int:
    """Count parameters, a tuple of fixed length as its elements; self and cls are not counted.

    Args:
        node: the function.
        aliases: names of the module -> expression, in which names of tuple types are looked up.
    """
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return sum(
        _count_values(argument.annotation, aliases)
        for place, argument in enumerate(arguments)
        if place or argument.arg not in ("self", "cls", "mcs")
    )


def _count_values(annotation: ast.expr | None, aliases: Mapping[str, ast.expr]) -> int:
    if isinstance(annotation, ast.BinOp):  # X | None
        return max(_count_values(annotation.left, aliases), _count_values(annotation.right, aliases))
    if isinstance(annotation, ast.Name) and annotation.id in aliases:
        other = aliases[annotation.id]
        return _count_values(other, {}) if isinstance(other, ast.Subscript) else 1
    if not (isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) in ("tuple", "Tuple")):
        return 1
    elements = cast(ast.Tuple, annotation.slice).elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
    if any(isinstance(element, ast.Constant) and element.value is ... for element in elements):
        return 1
    return sum(_count_values(element, aliases) for element in elements)
