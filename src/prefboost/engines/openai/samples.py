"""Samples of one prompt, to be asked for in one call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from prefboost.engines.engine import Request

__all__ = ["Numbered", "group_samples"]

Numbered = list[tuple[int, Request]]
"""Requests with their indices."""


def group_samples(requests: Iterable[tuple[int, Request]], most: int) -> Iterator[Numbered]:
    """Put requests that follow each other and differ in their sample alone together; each is taken when it is needed.

    Args:
        requests: with their indices.
        most: requests of a group.
    """
    group: Numbered = []
    for index, request in requests:
        # Compared with the sample's number made equal, so that a new field of a request is never forgotten here.
        if group and (len(group) == most or group[0][1] != replace(request, sample=group[0][1].sample)):
            yield group
            group = []
        group.append((index, request))
        if len(group) == most:
            yield group
            group = []
    if group:
        yield group
