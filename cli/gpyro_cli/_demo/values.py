"""What both sides of the demonstration know: names, and values of every kind that travels."""

from __future__ import annotations

import datetime
import enum
import uuid
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass, is_dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from gpyro.serializers import register
from gpyro.uri import PyroURI

__all__ = ["GROUP", "READY", "Colour", "Order", "Reading", "every_kind", "is_same"]

#: The group of the demonstration's objects.
GROUP = ":Demo"
#: What the object server says when it serves.
READY = "object server ready"


@register
class Colour(enum.Enum):
    """An enumeration that both sides know."""

    RED = 1
    GREEN = "green"


@register
@dataclass
class Order:
    """A dataclass that both sides know."""

    article: str
    amount: int
    price: Decimal
    marks: set[str]


@register
class Reading(NamedTuple):
    """A namedtuple that both sides know."""

    sensor: str
    celsius: float


def every_kind() -> dict[str, Any]:
    """Return one value of each kind, by what it is called."""
    berlin = datetime.timezone(datetime.timedelta(hours=2))
    return {
        "None": None,
        "bool": True,
        "int": -42,
        "large int": 2**200 + 1,
        "float": 0.1,
        "infinity": float("-inf"),
        "complex": 1.5 - 2j,
        "str": "Grüße, 世界, \N{SNOWMAN}",
        "bytes": bytes(range(256)),
        "bytearray": bytearray(b"can change"),
        "list": [1, [2, [3, []]]],
        "tuple": (1, (2, ()), [3]),
        "dict": {"a": 1, 2: (3, 4), (5, 6): None, b"k": {}},
        "set": {1, "two", (3, 4)},
        "frozenset": frozenset({b"x", frozenset()}),
        "range": range(10, 0, -3),
        "Decimal": Decimal("3.140"),
        "Fraction": Fraction(-2, 3),
        "datetime": datetime.datetime(2026, 2, 28, 23, 59, 59, 999999, tzinfo=berlin),
        "naive datetime": datetime.datetime(1969, 12, 31, 1, 2, 3),
        "date": datetime.date(2024, 2, 29),
        "time": datetime.time(13, 14, 15, 16),
        "timedelta": datetime.timedelta(days=-1, microseconds=7),
        "UUID": uuid.UUID("12345678-1234-5678-1234-567812345678"),
        "path": PurePosixPath("/var/lib/gpyro"),
        "deque": deque([1, 2], maxlen=5),
        "OrderedDict": OrderedDict([("z", 1), ("a", 2)]),
        "defaultdict": defaultdict(list, {"a": [1]}),
        "Counter": Counter("gpyro"),
        "Enum": Colour.GREEN,
        "dataclass": Order("bolt", 100, Decimal("0.05"), {"steel", "M6"}),
        "namedtuple": Reading("tank", 21.5),
        "exception": ValueError("a value, not raised", 7),
        "address": PyroURI("PYRO://localhost:7766/some_object"),
    }


def is_same(left: Any, right: Any) -> bool:
    """Tell whether two values have the same type and value, within containers too."""
    if type(left) is not type(right):
        return False
    if isinstance(left, BaseException):
        return is_same(left.args, right.args)
    if is_dataclass(left):
        return is_same(vars(left), vars(right))
    if isinstance(left, dict):
        return len(left) == len(right) and all(
            is_same(*keys) and is_same(left[keys[0]], right[keys[1]]) for keys in _paired(left, right)
        )
    if isinstance(left, (set, frozenset)):
        return left == right and all(is_same(*pair) for pair in _paired(left, right))
    if isinstance(left, (list, tuple, deque)):
        return len(left) == len(right) and all(map(is_same, left, right))
    return bool(left == right) and repr(left) == repr(right)


def _paired(left: Any, right: Any) -> list[tuple[Any, Any]]:
    """Pair equal keys: 1, 1.0 and True are equal, but not the same."""
    keys = {key: key for key in right}
    return [(key, keys.get(key)) for key in left]
