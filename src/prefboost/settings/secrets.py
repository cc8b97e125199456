"""Keeping secrets out of messages, logs and manifests."""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["without_secrets"]

_HIDDEN = "[secret]"
_ENDING = r"[\w-]*\.(?:jsonl?|ndjson|parquet|pq|csv|tsv|arrow|ipc|feather|txt|ya?ml|md|html?|gz|zst|store)\b"
"""Rest of a file name with an ending, which no token has."""

_PATTERNS = (
    # As the hub and GitHub make tokens: letters of both cases and digits, at random. Nobody names a file so.
    re.compile(r"\b(?:hf_|gh[pousr]_)(?=[A-Za-z0-9]*[A-Z])(?=[A-Za-z0-9]*[a-z])(?=[A-Za-z0-9]*[0-9])[A-Za-z0-9]{20,}"),
    # Of less random ones, those that are no name of a file or folder: hf_my_goal_pairs, hf_preferences.jsonl.
    re.compile(rf"\b(?:hf|gh[pousr])[_-](?!{_ENDING}|[\w.-]*/)[A-Za-z0-9]{{12,}}(?![A-Za-z0-9]*[_-])"),
    re.compile(rf"\b(?:sk|pypi)[_-](?!{_ENDING})[A-Za-z0-9_\-]{{12,}}"),
    re.compile(r"(?<=[Bb]earer )[A-Za-z0-9._~+/\-]{8,}=*"),
    re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"),
    re.compile(
        r"""(?i)(?<![a-z0-9])((?:[a-z0-9]+[_-])*(?:api[_-]?key|token|secret|password))(["']?\s*[=:]\s*["']?)([^\s"',}&]{6,})"""
    ),
)
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?")
_SECRET_NAME = re.compile(r"(?i)(api_?key|token|secret|password)$")


def without_secrets(text: str, environment: Mapping[str, str] | None = None) -> str:
    """Replace access tokens, passwords in addresses and the like by ``[secret]``.

    Args:
        text: anything that is about to be shown or stored.
        environment: variables whose values are hidden too where the name says token, key, secret or password.

    >>> without_secrets("token=hf_abcdefghijklmnopqrst")
    'token=[secret]'
    """
    for name, value in (environment or {}).items():
        if len(value) >= 8 and _SECRET_NAME.search(name):
            text = text.replace(value, _HIDDEN)
    *plain, named = _PATTERNS
    for pattern in plain:
        text = pattern.sub(_HIDDEN, text)

    def hide_value(match: re.Match[str]) -> str:
        name, separator, value = match.groups()
        if separator[0] not in "\"'" or separator[-1] in "\"'":
            return f"{name}{separator}{_HIDDEN}"
        # JSON with a value that is no text. No access token is a number, but settings such as pad_token are.
        if value[0] in "[{" or (name.lower().endswith("token") and _NUMBER.fullmatch(value)):
            return match[0]
        return f'{name}{separator}"{_HIDDEN}"'

    return named.sub(hide_value, text)
