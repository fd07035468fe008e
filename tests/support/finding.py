"""How tests ask an index of subjects who subscribed."""

from __future__ import annotations

from typing import Any

from gpyro._events.subjects import SubjectIndex

__all__ = ["found"]


def found(index: SubjectIndex[Any], subject: str) -> tuple[Any, ...]:
    """Find as a server does: ask the patterns only where they have to be asked."""
    answer = index.find(subject)
    if answer is None:
        for _ in index.search(subject):
            pass
        answer = index.find(subject)
    assert answer is not None
    return answer
