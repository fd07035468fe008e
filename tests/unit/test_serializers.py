"""The codec: what arrives is what was sent, and what cannot travel is refused by name."""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import fractions
import math
import os
import pathlib
import subprocess
import sys
import types
import uuid
import zoneinfo
from typing import Any

import pytest

from gpyro.errors import NoModuleError, RemoteProtocolError, SerializationError
from gpyro.serializers import Codec, CodecLimits

CODEC = Codec()


def value_there(value: Any, codec: Codec = CODEC) -> Any:
    """Return a value after its way to the other side."""
    return codec.decode_value(*codec.encode_value(value))


def arguments_there(*args: Any, **kwargs: Any) -> tuple[list[Any], dict[str, Any]]:
    """Return arguments after their way to the other side."""
    return CODEC.decode_arguments(*CODEC.encode_arguments(args, kwargs))


def is_same(ours: Any, theirs: Any) -> bool:
    """Say whether two values are equal and of the same types all the way down; NaN is itself."""
    if type(ours) is not type(theirs):
        return False
    if isinstance(ours, float):
        return repr(ours) == repr(theirs)
    if isinstance(ours, (list, tuple, collections.deque)):
        return len(ours) == len(theirs) and all(map(is_same, ours, theirs))
    if isinstance(ours, dict):
        return is_same([*ours.keys()], [*theirs.keys()]) and is_same([*ours.values()], [*theirs.values()])
    if isinstance(ours, (set, frozenset)):
        return sorted(map(repr, ours)) == sorted(map(repr, theirs))
    return bool(ours == theirs)


ZONE = zoneinfo.ZoneInfo("Europe/Amsterdam")
MINUS_3 = datetime.timezone(datetime.timedelta(hours=-3, seconds=7))
NAMED = datetime.timezone(datetime.timedelta(hours=5, minutes=30), "home")

VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2**63 - 1, -(2**63), 2**64 - 1, 2**64, -(2**63) - 1, 10**4299, -(10**4299),
    0.0, -0.0, 1.5, math.inf, -math.inf, math.nan, 5e-324,
    "", "text", "grüße 日本 🐍", "\x00", "\ud800", "ok \udfff mixed é", "x" * 100_000,
    b"", b"bytes", b"x" * 64_512, b"x" * 64_513, bytearray(b""), bytearray(b"abc"), bytearray(b"y" * 70_000),
    [], [1, [2, [3, []]]], (), (1,), (1, (2, (3, ()))), [()], [(), ()], [(1,), (1, 2)], ((1, 2), [3, (4,)]),
    [(1, "a", None)], [(1, 2.5), (True, (3,)), ("x", [4])], [(1, 2), [3, 4]], [(b"x" * 70_000, 1), (b"", 2)],
    set(), {1, 2, 3}, {"a", (1, "b"), None}, {frozenset({1, (2,)})}, frozenset(), frozenset({"x"}),
    {}, {"a": 1}, {"a": {"b": {"c": (1,)}}}, {1: "a", 2.5: "b", None: "c", b"k": "d", "s": "e"},
    {(1, "x"): {(2,): 3}}, {True: "yes", 2: "two"}, {"\ud800": 1, "fine": "\udc00"}, {2**70: 1},
    {frozenset({1}): ()},
    {"": 1}, {"a" * 1000: "b" * 1000}, {i: str(i) for i in range(200)},
    1 + 2j, complex(math.inf, -0.0), range(0), range(1, 10, 3), range(-5, 2**80), slice(None), slice(1, "b", (2,)),
    decimal.Decimal("0"), decimal.Decimal("-0.00"), decimal.Decimal("1.10"), decimal.Decimal("1E+30"),
    decimal.Decimal("Infinity"), decimal.Decimal("1" * 4000),
    fractions.Fraction(-1, 3), fractions.Fraction(2**100, 3**70),
    datetime.date(1, 1, 1), datetime.date(9999, 12, 31), datetime.time(),
    datetime.time(23, 59, 59, 999999, fold=1),
    datetime.time(1, 2, tzinfo=MINUS_3), datetime.datetime(2026, 7, 1, 12, 30, 5, 123456),
    datetime.datetime(2026, 7, 1, tzinfo=datetime.timezone.utc), datetime.datetime(2026, 7, 1, tzinfo=MINUS_3),
    datetime.datetime(2026, 10, 25, 2, 30, tzinfo=ZONE, fold=1), datetime.datetime.max, datetime.datetime.min,
    datetime.timedelta(0), datetime.timedelta.min, datetime.timedelta.max, datetime.timedelta(-1, 5, 7),
    datetime.timezone.utc, MINUS_3, NAMED, ZONE, uuid.UUID(int=0), uuid.UUID(int=2**128 - 1),
    pathlib.Path("/tmp/a b"), pathlib.PurePosixPath("a/../b"), pathlib.PureWindowsPath("c:\\x\\y"),
    pathlib.Path(os.fsdecode(b"/bad-\xff")),
    collections.OrderedDict([("z", 1), (1, 2), ((3,), 4)]), collections.Counter("abracadabra"),
    collections.Counter({"neg": -5}), collections.deque(), collections.deque([1, (2,)], maxlen=5),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{type(value).__name__} {value!r}"[:40])
class TestEachType:
    def test_arrives_as_the_same_type_and_value(self, value: Any) -> None:
        assert is_same(value, value_there(value))

    def test_arrives_the_same_inside_containers(self, value: Any) -> None:
        # Deeper than an argument, bytearray arrives as bytes: MessagePack has one type for both.
        expected = bytes(value) if type(value) is bytearray else value
        there = value_there([value, (value, {"key": value}), {1: value}])
        assert is_same([expected, (expected, {"key": expected}), {1: expected}], there)

    def test_arrives_the_same_as_an_argument_and_by_keyword(self, value: Any) -> None:
        args, kwargs = arguments_there(0, value, key=value)
        assert is_same([0, value], args)
        assert is_same({"key": value}, kwargs)


def is_hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


@pytest.mark.parametrize(
    "value", [v for v in VALUES if is_hashable(v)], ids=lambda value: f"{type(value).__name__} {value!r}"[:40]
)
def test_a_hashable_value_arrives_as_key_and_as_element_of_a_set(value: Any) -> None:
    assert is_same({value: 1, "other": 2}, value_there({value: 1, "other": 2}))
    assert is_same({value}, value_there({value}))
    assert is_same(frozenset({value}), value_there((frozenset({value}),))[0])


def test_keys_that_python_tells_apart_stay_apart() -> None:
    there = value_there({1: "int", "1": "str", b"1": "bytes", (1,): "tuple", 1.5: "float"})
    assert [*there] == [1, "1", b"1", (1,), 1.5]
    assert [type(key) for key in value_there([True, 1, 1.0])] == [bool, int, float]
    assert [*map(type, value_there({True: 0}))] == [bool]
    assert [*map(type, value_there({1.0: 0}))] == [float]


def test_dict_keeps_its_order() -> None:
    keys = [5, "b", 3.5, "a", None, (1,)]
    assert [*value_there(dict.fromkeys(keys))] == keys


def test_defaultdict_keeps_a_builtin_factory_and_drops_any_other() -> None:
    there = value_there(collections.defaultdict(list, {1: [2]}))
    assert type(there) is collections.defaultdict
    assert there.default_factory is list
    assert there == {1: [2]}
    assert value_there(collections.defaultdict(None, a=1)).default_factory is None
    assert value_there(collections.defaultdict(lambda: 5, a=1)).default_factory is None


def test_deque_keeps_its_maxlen() -> None:
    assert value_there(collections.deque([1], maxlen=7)).maxlen == 7
    assert value_there(collections.deque([1])).maxlen is None


def test_fold_and_name_of_a_time_zone_arrive() -> None:
    there = value_there(datetime.datetime(2026, 10, 25, 2, 30, tzinfo=ZONE, fold=1))
    assert there.fold == 1
    assert there.tzinfo.key == "Europe/Amsterdam"
    assert value_there(NAMED).tzname(None) == "home"
    assert value_there(datetime.timezone.utc) is datetime.timezone.utc


def test_nan_stays_nan_in_decimal() -> None:
    assert value_there(decimal.Decimal("NaN")).is_nan()
    assert value_there(decimal.Decimal("sNaN123")).is_snan()


# Arguments


def test_arguments_without_keywords_are_a_plain_messagepack_array() -> None:
    assert CODEC.encode_arguments(("hello", 1), None) == (b"\x92\xa5hello\x01", [])
    assert CODEC.encode_arguments(("hello", 1), {}) == (b"\x92\xa5hello\x01", [])
    assert CODEC.decode_arguments(b"\x92\xa5hello\x01", ()) == (["hello", 1], {})


def test_arguments_with_keywords_are_a_map_with_the_positional_ones_under_the_empty_name() -> None:
    assert CODEC.encode_arguments((1,), {"a": 2}) == (b"\x82\xa0\x91\x01\xa1a\x02", [])
    assert arguments_there(a=2) == ([], {"a": 2})


def test_no_arguments_arrive_as_none() -> None:
    assert arguments_there() == ([], {})


def test_an_argument_that_is_a_dict_is_no_keyword() -> None:
    assert arguments_there({"a": 1}) == ([{"a": 1}], {})


def test_keyword_with_an_empty_or_strange_name_is_refused() -> None:
    with pytest.raises(SerializationError, match="empty name"):
        CODEC.encode_arguments((), {"": 1})
    with pytest.raises(SerializationError, match="name of a keyword"):
        CODEC.encode_arguments((), {"\ud800": 1})
    with pytest.raises(SerializationError, match="name of a keyword"):
        CODEC.encode_arguments((), {1: 1})  # type: ignore[dict-item]


@pytest.mark.parametrize("body", [b"\x01", b"\x80", b"\x81\xa1a\x01", b"\x81\xa0\x01", b"\xc0", b"\xa0"])
def test_arguments_that_are_neither_array_nor_map_are_refused(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        CODEC.decode_arguments(body, ())


# Parts beside the body


def test_large_bytes_travel_beside_the_body_without_a_copy() -> None:
    data = bytes(70_000)
    body, parts = CODEC.encode_arguments((data, "small"), None)
    assert len(body) < 20
    assert parts[0] is data
    assert CODEC.decode_arguments(body, parts) == ([data, "small"], {})


def test_large_bytearray_and_memoryview_are_views_of_the_senders_memory() -> None:
    data = bytearray(70_000)
    for value in (data, memoryview(data)):
        body, parts = CODEC.encode_value(value)
        data[0] = 7
        assert parts[0][0] == 7
        assert memoryview(parts[0]).format == "B"
        assert type(CODEC.decode_value(body, parts)) is type(value)
        data[0] = 0


def test_what_arrives_from_a_receive_buffer_does_not_change_with_it() -> None:
    buffer = bytearray(b"a" * 70_000)
    for value in (bytes(70_000), bytearray(70_000), memoryview(bytes(70_000))):
        body, _ = CODEC.encode_value(value)
        there = CODEC.decode_value(memoryview(body), [memoryview(buffer)])
        buffer[:] = b"b" * 70_000
        assert bytes(there) == b"a" * 70_000
        buffer[:] = b"a" * 70_000


def test_small_bytes_stay_in_the_body() -> None:
    for value in (bytes(64_512), bytearray(64_512), memoryview(bytes(64_512))):
        body, parts = CODEC.encode_value(value)
        assert parts == []
        assert len(body) > 64_512
        assert CODEC.decode_value(body, ()) == value


def test_memoryviews_of_any_shape_arrive_as_flat_bytes() -> None:
    data = bytes(range(256)) * 64
    for view in (
        memoryview(data)[::2],
        memoryview(data).cast("I"),
        memoryview(data).cast("B", (128, 128)),
        memoryview(b""),
        memoryview(data)[::-1],
    ):
        there = value_there(view)
        assert type(there) is memoryview
        assert there.tobytes() == view.tobytes()
        assert there.format == "B"


def test_large_bytes_inside_extensions_travel_beside_the_body() -> None:
    data = bytes(100_000)
    for value in ((data,), ((data, 1), 2), {1: data}, [(data, 1), (data, 2)], {"rows": ({"deep": [data]},) * 7}):
        body, parts = CODEC.encode_value(value)
        assert parts
        assert len(body) < 1000
        assert CODEC.decode_value(body, parts) == value


def test_bytearray_below_an_argument_arrives_as_bytes() -> None:
    assert value_there([bytearray(b"ab"), (memoryview(b"cd"), 1), {1: bytearray(9000)}]) == [
        b"ab", (b"cd", 1), {1: bytes(9000)},
    ]  # fmt: skip
    assert type(value_there({1: bytearray(9000)})[1]) is bytes


def test_more_parts_than_one_message_may_have_stay_in_the_body() -> None:
    args = tuple(bytes([n % 256]) * 70_000 for n in range(300))
    body, parts = CODEC.encode_arguments(args, None)
    assert len(parts) == 256
    assert CODEC.decode_arguments(body, parts) == ([*args], {})


def test_a_part_that_is_missing_or_used_twice_is_refused() -> None:
    body, parts = CODEC.encode_value(bytes(70_000))
    with pytest.raises(RemoteProtocolError, match="index of a part"):
        CODEC.decode_value(body, [])
    with pytest.raises(RemoteProtocolError, match="used twice"):
        CODEC.decode_arguments(b"\x92" + body + body, parts)


# What cannot travel


class Plain:
    pass


class Text(str):
    pass


class Color(enum.IntEnum):
    RED = 1


@pytest.mark.parametrize(
    ("value", "part"),
    [
        (Plain(), "Plain cannot travel: its class is not registered; gpyro.register(Plain) on both sides"),
        (Text("x"), "gpyro.register(Text)"),
        (Color.RED, "gpyro.register(Color)"),
        (types.SimpleNamespace(), "gpyro.register(SimpleNamespace)"),
        (collections.UserDict(), "gpyro.register(UserDict)"),
        (Plain, "the class test_serializers.Plain itself cannot travel"),
        (len, "cannot travel; send an object that has the method"),
        (lambda: 0, "cannot travel; send an object that has the method"),
        (Ellipsis, "a ellipsis cannot travel"),
        (NotImplemented, "cannot travel"),
        (iter([]), "cannot travel"),
        ((n for n in [1]), "a generator cannot travel"),
        (sys, "a module cannot travel"),
        (object(), "a object cannot travel"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_value_that_cannot_travel_is_refused_with_the_way_out(value: Any, part: str) -> None:
    part = part.replace("test_serializers.", f"{__name__}.")
    with pytest.raises(SerializationError) as caught:
        CODEC.encode_value(value)
    assert part in str(caught.value)
    assert str(caught.value).startswith("result: ")
    with pytest.raises(TypeError):
        CODEC.encode_value([value])


def test_zoneinfo_without_a_key_is_refused() -> None:
    file = pathlib.Path(zoneinfo.TZPATH[0], "UTC")
    if not file.exists():
        pytest.skip("no time zone files on this machine")
    with file.open("rb") as stream, pytest.raises(SerializationError, match="without a key"):
        CODEC.encode_value(zoneinfo.ZoneInfo.from_file(stream))


@pytest.mark.parametrize(
    ("args", "kwargs", "path"),
    [
        ((1, object()), {}, "argument 2: "),
        ((0, {"rows": [1, 2, 3, object()]}), {}, "argument 2 -> 'rows' -> [3]: "),
        (({5: {(1, 2): object()}},), {}, "argument 1 -> 5 -> (1, 2): "),
        ((({"a": (0, object())},),), {}, "argument 1 -> [0] -> 'a' -> [1]: "),
        (([(1, 2), (3, object())],), {}, "argument 1 -> [1] -> [1]: "),
        ((1,), {"x": [object()]}, "argument 'x' -> [0]: "),
        (({(1, Plain): 0},), {}, "argument 1 -> key (1, <class"),
        ((collections.OrderedDict(a=1, b=object()),), {}, "argument 1 -> 'b': "),
        ((collections.deque([1, object()]),), {}, "argument 1 -> [1]: "),
    ],
)
def test_error_names_the_path_to_the_culprit(args: Any, kwargs: Any, path: str) -> None:
    with pytest.raises(SerializationError) as caught:
        CODEC.encode_arguments(args, kwargs)
    assert str(caught.value).startswith(path)


def test_path_into_a_set_names_the_element() -> None:
    with pytest.raises(SerializationError, match=r"^result -> element <.*Plain object at"):
        CODEC.encode_value({Plain()})


def test_cycles_are_refused_with_their_path() -> None:
    circle: list[Any] = [1]
    circle.append(circle)
    with pytest.raises(SerializationError, match=r"^result -> \[1\]: the list contains itself"):
        CODEC.encode_value(circle)
    through_tuple: dict[Any, Any] = {}
    through_tuple["me"] = (through_tuple,)
    with pytest.raises(SerializationError, match=r"^result -> 'me' -> \[0\]: the dict contains itself"):
        CODEC.encode_value(through_tuple)
    keyed: dict[Any, Any] = {}
    keyed[1] = [keyed]
    with pytest.raises(SerializationError, match="contains itself"):
        CODEC.encode_arguments((keyed,), {"k": 1})


def test_one_object_in_two_places_is_no_cycle() -> None:
    shared = [1, {2: 3}]
    assert value_there([shared, {1: shared}, (shared,)]) == [shared, {1: shared}, (shared,)]


# Limits when sending


def test_depth_is_counted_across_extensions_when_sending_and_when_receiving() -> None:
    def nested(depth: int) -> Any:
        value: Any = 1
        for _ in range(depth):
            value = (value,)
        return value

    assert value_there(nested(64)) == nested(64)
    with pytest.raises(SerializationError, match=r"more than 64 extensions inside each other \(max_depth\)"):
        CODEC.encode_value(nested(65))
    body, parts = Codec(CodecLimits(max_depth=100)).encode_value(nested(65))
    with pytest.raises(RemoteProtocolError, match="max_depth"):
        CODEC.decode_value(body, parts)
    narrow = Codec(CodecLimits(max_depth=1))
    assert value_there((1,), narrow) == (1,)
    assert value_there(({"k": decimal.Decimal(1)},), narrow) == ({"k": 1},)
    with pytest.raises(SerializationError):
        narrow.encode_value(((1,),))


def test_lists_may_nest_as_deep_as_ormsgpack_allows() -> None:
    value: list[Any] = []
    for _ in range(200):
        value = [value]
    assert value_there(value) == value
    assert value_there({1: value}) == {1: value}
    for _ in range(200):
        value = [value]
    with pytest.raises(SerializationError, match="nested too deep"):
        CODEC.encode_value(value)


def test_depth_that_python_cannot_reach_is_no_limit() -> None:
    for depth in (0, 201):
        with pytest.raises(ValueError, match="max_depth"):
            CodecLimits(max_depth=depth)


def test_items_are_counted_when_sending_and_when_receiving() -> None:
    narrow = Codec(CodecLimits(max_items=100))
    for fine in ([0] * 100, {str(n): n for n in range(50)}, {n: n for n in range(50)}, "x" * 1000, [[0] * 48] * 2):
        assert value_there(fine, narrow) == fine
    many: list[Any] = [
        [0] * 101, {str(n): n for n in range(51)}, {n: n for n in range(51)}, {*range(101)}, [[0] * 49] * 3,
        [(1, 2, 3)] * 40, ([0] * 100, [(0,)]),
    ]  # fmt: skip
    for value in many:
        with pytest.raises(SerializationError, match="max_items"):
            narrow.encode_value(value)
        with pytest.raises(SerializationError, match="max_items"):
            narrow.encode_arguments((value,), {"k": 1})
        body, parts = CODEC.encode_value(value)
        with pytest.raises(RemoteProtocolError, match="limit is 100"):
            narrow.decode_value(body, parts)
        with pytest.raises(RemoteProtocolError, match="limit is 100"):
            narrow.decode_arguments(b"\x91" + body, parts)


def test_shared_references_are_counted_as_copies_in_the_walk() -> None:
    value: Any = {1: 1}
    for _ in range(40):
        value = [value, value]
    with pytest.raises(SerializationError, match="max_items"):
        Codec(CodecLimits(max_items=1000)).encode_value({1: value, 2: object()})


def test_long_text_does_not_count_as_items_in_the_walk() -> None:
    narrow = Codec(CodecLimits(max_items=1000))
    value = {1: {"text": "x" * 900}, 2: [{"more": "y" * 900}, {3: [(n,) for n in range(300)]}]}
    assert value_there(value, narrow) == value
    with pytest.raises(SerializationError, match="max_items"):
        narrow.encode_value([value, {4: [*range(900)]}])


def test_numbers_of_too_many_digits_are_refused_on_both_sides() -> None:
    wide = Codec(CodecLimits(max_bigint_digits=100_000))
    for value in (10**4400, -(10**4400), decimal.Decimal("1" * 4400), fractions.Fraction(1, 10**4400)):
        with pytest.raises(SerializationError, match=r"limit is 4300 .*\(?max_bigint_digits"):
            CODEC.encode_value([value])
        body, parts = wide.encode_value(value)
        with pytest.raises(RemoteProtocolError, match="max_bigint_digits"):
            CODEC.decode_value(body, parts)


# References


class ByReference:
    _gpyro_by_reference_ = True

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the codec asked a proxy for {name}")


class Table:
    """A hand-written room above: references by number."""

    def __init__(self) -> None:
        self.known: list[object] = []

    def encode_reference(self, value: object) -> tuple[int, bytes] | None:
        if len(self.known) >= 3:
            return None
        self.known.append(value)
        return 200, str(len(self.known)).encode()

    def decode_reference(self, kind: int, data: bytes) -> object:
        if data == b"bad":
            raise NoModuleError("no such reference")
        return ("reference", kind, data)


def test_objects_marked_by_reference_go_to_the_room_above() -> None:
    table = Table()
    codec = Codec(references=table)
    thing = ByReference()
    there = codec.decode_arguments(*codec.encode_arguments((thing, [1, {"k": (thing,)}]), {"x": thing}))
    first, second, third = (("reference", 200, number) for number in (b"1", b"2", b"3"))
    assert there == ([first, [1, {"k": (second,)}]], {"x": third})
    assert table.known == [thing] * 3
    with pytest.raises(SerializationError, match=r"^result: a .*ByReference travels by reference"):
        codec.encode_value(thing)


def test_without_references_they_are_refused_on_both_sides() -> None:
    with pytest.raises(SerializationError, match=r"result -> \[0\]: .* travels by reference"):
        CODEC.encode_value([ByReference()])
    body, parts = Codec(references=Table()).encode_value(ByReference())
    with pytest.raises(RemoteProtocolError, match="reference"):
        CODEC.decode_value(body, parts)


def test_error_of_the_room_above_comes_out_as_it_is() -> None:
    body = b"\xc7\x04\x2a\x01bad"
    with pytest.raises(NoModuleError, match="no such reference"):
        Codec(references=Table()).decode_value(body, ())


# The codec itself


def test_repr_tells_the_limits() -> None:
    assert "max_depth=64" in repr(CODEC)
    assert "no references" in repr(CODEC)


def test_codecs_of_the_same_limits_share_their_functions() -> None:
    assert Codec()._hook is Codec()._hook
    assert Codec()._hook is not Codec(CodecLimits(max_items=5))._hook


def test_room_imports_nothing_slow_and_nothing_that_runs_code() -> None:
    program = (
        "import sys; import gpyro.serializers as s; s.Codec().encode_value({1: (2,)});"
        "print(*[m for m in ('pickle', 'marshal', 'gevent', 'socket', 'numpy', 'decimal',"
        " 'fractions', 'pathlib', 'zoneinfo', 'attr') if m in sys.modules and m not in before])"
    )
    start = f"import sys; sys.path[:0] = {sys.path!r}; before = set(sys.modules);"
    command = [sys.executable, "-S", "-c", start + program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
