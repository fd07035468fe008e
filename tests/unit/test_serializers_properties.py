"""Hypothesis: any value made of the supported types arrives as it was, in every way that it can be sent."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import enum
import fractions
import pathlib
import zoneinfo
from typing import Any, NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpyro.serializers import Codec, register

CODEC = Codec()
SETTINGS = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@register
@dataclasses.dataclass(frozen=True)
class Record:
    a: Any
    b: Any = None


@register
class Pair(NamedTuple):
    left: Any
    right: Any


@register
class Color(enum.Enum):
    RED = 1
    BLUE = 2


@register
class Name(str):
    pass


ZONES = st.one_of(
    st.none(),
    st.just(datetime.timezone.utc),
    st.timedeltas(datetime.timedelta(hours=-23), datetime.timedelta(hours=23)).map(datetime.timezone),
    st.sampled_from(["Europe/Amsterdam", "America/St_Johns", "UTC"]).map(zoneinfo.ZoneInfo),
)
#: All of Unicode, lone surrogates too.
TEXT = st.text(st.characters(codec=None, categories=None), max_size=8)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**200), 2**200),
    st.floats(allow_nan=False),
    TEXT,
    st.binary(max_size=8),
    st.complex_numbers(allow_nan=False),
    st.decimals(allow_nan=False),
    st.fractions(),
    st.dates(),
    st.times(),
    st.datetimes(timezones=ZONES, allow_imaginary=True),
    st.timedeltas(),
    st.uuids(),
    TEXT.filter(lambda text: "\x00" not in text).map(pathlib.PurePosixPath),
    st.builds(range, st.integers(-5, 5), st.integers(), st.integers(1, 9)),
    st.sampled_from(Color),
    TEXT.map(Name),
)
HASHABLE = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(tuple),
        st.frozensets(inner, max_size=3),
        st.builds(Pair, inner, inner),
        st.builds(Record, inner, inner),
    ),
    max_leaves=5,
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.lists(st.tuples(inner, inner), max_size=4),
        st.dictionaries(HASHABLE, inner, max_size=4),
        st.dictionaries(TEXT, inner, max_size=4),
        st.sets(HASHABLE, max_size=4),
        st.frozensets(HASHABLE, max_size=4),
        st.lists(inner, max_size=4).map(collections.deque),
        st.dictionaries(HASHABLE, inner, max_size=3).map(collections.OrderedDict),
        st.dictionaries(HASHABLE, st.integers(), max_size=3).map(collections.Counter),
        st.builds(Record, inner, inner),
        st.builds(Pair, inner, inner),
    ),
    max_leaves=20,
)


def shape(value: Any) -> Any:
    """Return the value with the type of each part beside it, so that == sees 1, 1.0 and True as different."""
    kind = type(value)
    if isinstance(value, (Pair, list, tuple, collections.deque)):
        return (kind, [shape(part) for part in value])
    if isinstance(value, dict):
        return (kind, [(shape(key), shape(part)) for key, part in value.items()])
    if isinstance(value, (set, frozenset)):
        return (kind, sorted(repr(shape(part)) for part in value))
    if isinstance(value, Record):
        return (kind, shape(value.a), shape(value.b))
    if isinstance(value, (float, complex)):
        return (kind, repr(value))
    if isinstance(value, (datetime.datetime, datetime.time)):
        return (kind, repr(value), value.fold)
    if isinstance(value, fractions.Fraction):
        return (kind, value.numerator, value.denominator)
    return (kind, value)


@SETTINGS
@given(VALUES)
def test_any_value_arrives_as_it_was(value: Any) -> None:
    assert shape(CODEC.decode_value(*CODEC.encode_value(value))) == shape(value)


@SETTINGS
@given(
    st.lists(VALUES, max_size=3),
    st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), VALUES, max_size=2),
)
def test_any_arguments_arrive_as_they_were(args: list[Any], kwargs: dict[str, Any]) -> None:
    there_args, there_kwargs = CODEC.decode_arguments(*CODEC.encode_arguments(tuple(args), kwargs))
    assert shape(there_args) == shape(args)
    assert shape(there_kwargs) == shape(kwargs)


@SETTINGS
@given(VALUES)
def test_both_passes_of_the_encoder_mean_the_same(value: Any) -> None:
    """The dict with an int key sends the whole message through the walk."""
    there = CODEC.decode_value(*CODEC.encode_value([value, {1: value}]))
    assert shape(there) == shape([value, {1: value}])


@SETTINGS
@given(VALUES)
def test_both_passes_of_the_decoder_mean_the_same(value: Any) -> None:
    """The long text makes the body too long for the fast pass."""
    there = CODEC.decode_value(*CODEC.encode_value([value, "x" * 5000]))
    assert shape(there) == shape([value, "x" * 5000])


@SETTINGS
@given(st.lists(VALUES, max_size=3))
def test_arguments_of_any_exception_arrive(args: list[Any]) -> None:
    there = CODEC.decode_error(*CODEC.encode_error(ValueError(*args), None))
    assert shape(there.args) == shape(tuple(args))


@SETTINGS
@given(st.binary(max_size=10_000), st.sampled_from([bytes, bytearray, memoryview]))
def test_bytes_of_any_length_arrive_as_argument(data: bytes, kind: Any) -> None:
    args, kwargs = CODEC.decode_arguments(*CODEC.encode_arguments((kind(data),), {"k": kind(data)}))
    assert [*map(type, (args[0], kwargs["k"]))] == [kind, kind]
    assert bytes(args[0]) == bytes(kwargs["k"]) == data
