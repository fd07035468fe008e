"""The codec of pickles: what arrives, what does not, and what a peer of bad will can do with a list of names."""

from __future__ import annotations

import collections
import copyreg
import dataclasses
import datetime
import decimal
import enum
import io
import os
import pickle
import pickletools
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpyro
from gpyro._serializers.pickle_machine import MAX_LEVELS, Machine
from gpyro._serializers.pickling import PickleCodec
from gpyro.errors import NoModuleError, PyroError, RemoteProtocolError, SerializationError
from gpyro.serializers import Codec, CodecLimits, register

HERE = __name__


@dataclasses.dataclass
class Order:
    number: int
    lines: list[Any] = dataclasses.field(default_factory=list)
    parent: Any = None

    def total(self) -> int:
        return len(self.lines)


@dataclasses.dataclass(frozen=True)
class Key:
    name: str


class Slotted:
    __slots__ = ("a", "b")
    a: Any
    b: Any


class Color(enum.Enum):
    RED = 1


class Bag(list):  # type: ignore[type-arg]
    pass


class Careful:
    """Checks what arrives."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        if state.get("n", 0) < 0:
            raise ValueError("negative")
        self.__dict__.update(state)


class Callable_:
    called: list[Any] = []

    def __call__(self, *args: Any) -> None:
        self.called.append(args)


class Factory:
    """A class with a method that a state might want to hide."""

    limit = 5

    def check(self) -> bool:
        return True


class Served:
    """Stands for an object that is served here and comes home, or for a proxy."""

    _gpyro_by_reference_ = True

    def __init__(self) -> None:
        self.touched: list[Any] = []

    def note(self, *args: Any) -> None:
        self.touched.append(args)

    append = extend = add = __setitem__ = __call__ = __setstate__ = note


class References:
    """The references of a connection, in small."""

    def __init__(self) -> None:
        self.served = Served()

    def encode_reference(self, value: object) -> tuple[int, bytes] | None:
        return (3, b"home") if value is self.served else None

    def decode_reference(self, kind: int, data: bytes) -> object:
        if (kind, data) != (3, b"home"):
            raise RemoteProtocolError(f"reference of kind {kind} to {data!r}")
        return self.served


LISTED: list[Any] = [
    Order, Key, Slotted, Color, Bag, Careful, Callable_, Factory, datetime.datetime, datetime.timezone,
    datetime.timedelta, decimal.Decimal, collections.OrderedDict, collections.deque, complex, ("builtins", "list"),
    range,
]  # fmt: skip


def codec(allow: Any = (), references: Any = None, limits: CodecLimits | None = None, **rules: Any) -> PickleCodec:
    return PickleCodec(Codec(limits or CodecLimits(), references), gpyro.PickleRules(allow, **rules))


def refused(body: bytes, kind: type[PyroError], match: str, using: PickleCodec | None = None) -> None:
    with pytest.raises(kind, match=match):
        (using or codec(LISTED)).decode_value(b"\x80\x05" + body + b".")


def text(value: str) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value.encode()


def named(cls: Any) -> bytes:
    return text(cls.__module__) + text(cls.__qualname__) + b"\x93"


# What arrives

SHARED = [1, 2]
VALUES: list[Any] = [
    None, True, False, 0, -1, 255, 256, 65535, 65536, -(2**31), 2**31, 2**63, -(2**64), 10**400, 0.0, -1.5,
    float("inf"),
    "", "x", "ä", "\udc80", "x" * 300, "x" * 70000, b"", b"x", b"x" * 300, b"x" * 70000, bytearray(b"xy"),
    [], [1], [[], [[]]], (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), {}, {1: 2, "a": (1,), (1, 2): None}, {1.5,
    "x"},
    set(), frozenset(), frozenset({1, (2, frozenset({3}))}), [SHARED, SHARED], list(range(3000)),
    {n: str(n) for n in range(3000)}, set(range(3000)), Order(5, [1, Order(6)]), Key("k"), {Key("k"): Key("v")},
    Color.RED, Bag([1, 2]), datetime.datetime(2024, 1, 2, 3, tzinfo=datetime.timezone.utc),
    decimal.Decimal("1.50"),
    collections.OrderedDict([(2, 1), (1, 2)]), collections.deque([1, 2], 5), 1j, range(3, 9), Order, [Key, list],
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:40])
@pytest.mark.parametrize("trusting", [False, True])
def test_value_arrives_as_it_was(value: Any, trusting: bool) -> None:
    using = codec(trust_peer_completely=True) if trusting else codec(LISTED)
    found = using.decode_value(*using.encode_value(value))
    assert found == value and type(found) is type(value)
    args, kwargs = using.decode_arguments(*using.encode_arguments((value, 1), {"named": value}))
    assert args == [value, 1] and kwargs == {"named": value} and type(args[0]) is type(value)
    assert using.decode_arguments(*using.encode_arguments((value,))) == ([value], {})


def test_body_may_be_a_view_of_a_receive_buffer() -> None:
    using = codec(LISTED)
    body, parts = using.encode_value(Order(1))
    assert parts == []
    assert using.decode_value(memoryview(bytearray(body))) == Order(1)


def test_sharing_and_cycles_stay_as_they_are() -> None:
    using = codec(LISTED)
    first, second = using.decode_value(*using.encode_value([SHARED, SHARED]))
    assert first is second
    order = Order(1)
    order.parent = order
    order.lines = [order, (order, (1, order, 3, 4))]
    found = using.decode_value(*using.encode_value(order))
    assert found.parent is found and found.lines[0] is found and found.lines[1][1][1] is found
    for wrap in (lambda inner: (inner,), lambda inner: (1, 2, 3, inner)):
        inner: list[Any] = []
        ring: Any = wrap(inner)
        inner.append(ring)
        found = using.decode_value(*using.encode_value(ring))
        assert found[-1][0] is found


def test_slots_and_own_setstate_arrive() -> None:
    using = codec(LISTED)
    slotted = Slotted()
    slotted.a = [1]
    found = using.decode_value(*using.encode_value(slotted))
    assert found.a == [1] and not hasattr(found, "b")
    careful = Careful()
    careful.__dict__["n"] = 7
    assert using.decode_value(*using.encode_value(careful)).n == 7
    careful.__dict__["n"] = -7
    with pytest.raises(SerializationError, match=r"does not fit .*Careful: ValueError\('negative'\)"):
        using.decode_value(*using.encode_value(careful))


numbers = st.booleans() | st.integers() | st.floats(allow_nan=False)
plain = st.none() | numbers | st.text() | st.binary(max_size=300)
pairs = st.tuples(st.integers(), st.text(max_size=3))
keys = st.integers() | st.text(max_size=4) | pairs | st.frozensets(st.integers())
values = st.recursive(
    plain,
    lambda inner: st.lists(inner)
    | st.dictionaries(keys, inner)
    | st.tuples(inner, inner)
    | st.sets(keys)
    | st.builds(Order, st.integers(), st.lists(inner), inner),
    max_leaves=40,
)


@given(values)
@settings(max_examples=150, deadline=None)
def test_machine_and_pythons_unpickler_find_the_same(value: Any) -> None:
    using = codec(LISTED)
    body, _ = using.encode_value([value, value])
    assert using.decode_value(body) == pickle.loads(body) == [value, value]


@given(values, st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4))
@settings(max_examples=300, deadline=None)
def test_mutated_body_is_a_value_or_an_error_of_gpyro(value: Any, changes: list[tuple[int, int]]) -> None:
    using = codec(LISTED)
    body = bytearray(using.encode_value(value)[0])
    for at, byte in changes:
        body[at % len(body)] = byte
    for decode in (using.decode_value, using.decode_arguments):
        try:
            decode(bytes(body))
        except PyroError:
            pass


@given(st.binary(max_size=60))
@settings(max_examples=200, deadline=None)
def test_garbage_is_an_error_of_gpyro(data: bytes) -> None:
    for decode in (codec(LISTED).decode_value, codec(LISTED).decode_error, codec(LISTED).decode_arguments):
        for body in (data, b"\x80\x05" + data + b"."):
            try:
                decode(body)
            except PyroError:
                pass


def test_codec_may_be_used_by_many_threads_at_once() -> None:
    using, wrong = codec(LISTED), []

    def work(number: int) -> None:
        for _ in range(30):
            value = [Order(number, list(range(50)))]
            if using.decode_value(*using.encode_value(value)) != value:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_repr_tells_the_rules_and_the_place() -> None:
    assert repr(codec([Order])) == f"<PickleCodec <PickleRules allows {HERE}.Order>>"
    machine = Machine(b"\x80\x05N.", CodecLimits(), gpyro.PickleRules(), None)
    assert repr(machine) == "<Machine at byte 2 of 4, 0 items>"


# Sending

UNPICKLABLE: list[tuple[Any, str]] = [
    (threading.Lock(), "_thread.lock"), (lambda: None, "function"), (memoryview(b"x"), "memoryview"),
    (iter(lambda: 1, 2), "callable_iterator"), ([threading.Lock()], "list cannot be pickled.*lock"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "what"), [pair for pair in UNPICKLABLE if pair[1]],
ids=lambda part: str(part)[:20])
def test_what_cannot_be_pickled_is_refused_and_named(value: Any, what: str) -> None:
    using = codec()
    with pytest.raises(SerializationError, match=f"argument 2: .*{what}"):
        using.encode_arguments((1, value))
    with pytest.raises(SerializationError, match=f"argument 'key': .*{what}"):
        using.encode_arguments((1,), {"key": value})
    with pytest.raises(SerializationError, match=f"result: .*{what}"):
        using.encode_value(value)


def test_user_code_that_fails_or_nests_without_end_is_refused() -> None:
    class Failing:
        def __reduce__(self) -> Any:
            raise KeyError("own")

    endless: list[Any] = []
    for _ in range(100_000):
        endless = [endless]
    for value, match in ((Failing(), "KeyError"), (endless, "recursion limit")):
        with pytest.raises(SerializationError, match=match):
            codec().encode_arguments((value,))
    with pytest.raises(SerializationError, match="keyword"):
        codec().encode_arguments((), {Bag: 1})  # type: ignore[dict-item]


def test_errors_travel_as_data() -> None:
    using = codec(trust_peer_completely=True)
    body, parts = using.encode_error(ValueError("bad"), ["line"])
    assert body == Codec().encode_error(ValueError("bad"), ["line"])[0]
    found = using.decode_error(body, parts)
    assert type(found) is ValueError and found.args == ("bad",)
    with pytest.raises(RemoteProtocolError):
        using.decode_error(pickle.dumps(ValueError("bad"), 5))


# References


def test_references_travel_as_references() -> None:
    references = References()
    for using in (codec(references=references), codec(references=references, trust_peer_completely=True)):
        served = references.served
        assert using.decode_value(*using.encode_value([served, {"k": served}])) == [served, {"k": served}]
        with pytest.raises(SerializationError, match="Served travels by reference"):
            using.encode_value(Served())
    with pytest.raises(SerializationError, match="Served travels by reference"):
        codec().encode_arguments((references.served,))
    body, _ = codec(references=references).encode_value(references.served)
    with pytest.raises(RemoteProtocolError, match="none can be resolved"):
        codec().decode_value(body)


def test_registered_class_travels_by_value_as_in_the_data_codec() -> None:
    class Both(gpyro.ObjBase):
        pass

    register(Both, name="test_pickling.Both", to_state=lambda value: None, from_state=lambda state: Both())
    with pytest.raises(SerializationError, match="Both cannot be pickled"):  # a local class: it was tried by value
        codec(references=References()).encode_value(Both())


WRONG_KEYS = [b"N", b"K\x01", b"K\x03C\x04home\x86\x85", b"K\x03\x8c\x04home\x86", b"\x88C\x04home\x86",
              b"K\x03C\x04homeN\x87", b"M\x00\x01C\x04home\x86", b"J\xff\xff\xff\xffC\x04home\x86", b"]",
              b"K\x09C\x04home\x86", b"K\x03C\x00\x86"]  # fmt: skip


@pytest.mark.parametrize("key", WRONG_KEYS, ids=repr)
@pytest.mark.parametrize("trusting", [False, True])
def test_reference_that_is_none_is_refused(key: bytes, trusting: bool) -> None:
    rules: dict[str, Any] = {"trust_peer_completely": True} if trusting else {"allow": LISTED}
    refused(key + b"Q", RemoteProtocolError, "reference", codec(references=References(), **rules))


HOME = b"K\x03C\x04home\x86Q"
TOUCHES = {
    "append": HOME + b"K\x01a", "extend": HOME + b"(K\x01K\x02e", "set an item": HOME + b"K\x01K\x02s",
    "set items": HOME + b"(K\x01K\x02u", "add": HOME + b"(K\x01\x90", "call": HOME + b")R",
    "build": HOME + b"}\x8c\x07touchedK\x01sb", "set slots": HOME + b"N}\x8c\x07touchedK\x01s\x86b",
    "make": HOME + b")\x81", "make with keywords": HOME + b")}\x92",
}  # fmt: skip


@pytest.mark.parametrize("how", TOUCHES)
def test_object_that_came_by_reference_cannot_be_touched(how: str) -> None:
    references = References()
    body = TOUCHES[how]
    refused(body, RemoteProtocolError, "a pickled message", codec(LISTED, references=references))
    # Even when a listed class hands it back.
    assert references.served.touched == []
    # The body is live: Python's own unpickler does it.
    if "make" not in how:
        codec(references=references, trust_peer_completely=True).decode_value(b"\x80\x05" + body + b".")
        assert references.served.touched not in ([],)


# Names


class Canary:
    tripped: list[str] = []

    def __init__(self, what: str = "") -> None:
        self.tripped.append(what)


def test_name_that_is_not_listed_is_refused_and_the_way_out_is_named() -> None:
    body, _ = codec().encode_value([Canary])
    with pytest.raises(NoModuleError, match=rf"{HERE}'\.'Canary' is named.*PickleRules\(allow=\[\.\.\."):
        codec(LISTED).decode_value(body)


EXPLOITS: list[Any] = [
    os.system, eval, exec, getattr, __import__, print, Canary, type, object,
    copyreg._reconstructor,  # type: ignore[attr-defined]
]  # fmt: skip


@pytest.mark.parametrize("function", EXPLOITS, ids=lambda function: function.__name__)
def test_nothing_is_called_that_is_not_listed(function: Any) -> None:
    module = function.__module__
    name = text(module) + text(function.__qualname__) + b"\x93"
    for rest in (b"", b"\x8c\x01x\x85R", b")\x81", b")}\x92"):
        refused(name + rest, NoModuleError, "is named by a pickled message")
    assert Canary.tripped == []


def test_dotted_names_are_not_walked() -> None:
    for module, name in ((HERE, "Order.__init__.__globals__"), (HERE, "pickle.loads"), (HERE, "os.system"),
                         ("gpyro", "errors"), (HERE + ".Order", "total")):  # fmt: skip
        refused(text(module) + text(name) + b"\x93", NoModuleError, "is named by")


@pytest.mark.parametrize("protocol", range(5))
def test_other_protocols_are_refused_before_anything_is_read(protocol: int) -> None:
    for using in (codec(LISTED), codec(trust_peer_completely=True)):
        for value in (None, [1], Order(1)):
            with pytest.raises(RemoteProtocolError, match="begins with"):
                using.decode_value(pickle.dumps(value, protocol))
    for body in (b"", b"\x80", b"\x05", b"\x90", b"\x80\x06N."):
        with pytest.raises(RemoteProtocolError, match="begins with"):
            codec(LISTED).decode_arguments(body)


WRITTEN = {
    "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT",
    "SHORT_BINUNICODE",
    "BINUNICODE", "BINUNICODE8", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8", "EMPTY_LIST",
    "EMPTY_DICT",
    "EMPTY_SET", "EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "TUPLE", "FROZENSET", "APPEND", "APPENDS", "SETITEM",
    "SETITEMS", "ADDITEMS", "MARK", "POP", "POP_MARK", "MEMOIZE", "BINGET", "LONG_BINGET", "FRAME", "STACK_GLOBAL",
    "BINPERSID", "REDUCE", "NEWOBJ", "NEWOBJ_EX", "BUILD", "STOP",
}  # fmt: skip


@pytest.mark.parametrize("operation", pickletools.opcodes, ids=lambda operation: operation.name)
def test_only_the_operations_that_are_written_are_known(operation: Any) -> None:
    try:
        codec(LISTED).decode_value(b"\x80\x05" + operation.code.encode("latin-1") + b"\x01" * 9 + b".")
        known = True
    except PyroError as exc:
        known = f"operation {ord(operation.code):#04x} at byte 2 " not in str(exc)
    assert known == (operation.name in WRITTEN)


@pytest.fixture
def extension_code() -> Iterator[int]:
    code = 0x77
    copyreg.add_extension("os", "system", code)
    try:
        yield code
    finally:
        copyreg.remove_extension("os", "system", code)
        copyreg._extension_cache.pop(code, None)  # type: ignore[attr-defined]


def test_extension_codes_do_not_go_round_the_list(extension_code: int) -> None:
    codes = [bytes([0x82, extension_code]), bytes([0x83, extension_code, 0]), bytes([0x84, extension_code, 0, 0,
    0])]

    class Guarded(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            raise NoModuleError("asked")

    for code in codes:
        refused(code, RemoteProtocolError, "operation 0x8")
    assert pickle.loads(b"\x80\x05" + codes[0] + b".") is os.system  # which fills the cache
    assert Guarded(io.BytesIO(b"\x80\x05" + codes[0] + b".")).load() is os.system  # a find_class is not enough
    for code in codes:
        refused(code, RemoteProtocolError, "operation 0x8")


def test_parts_beside_the_body_are_refused() -> None:
    body, _ = codec().encode_value(1)
    with pytest.raises(RemoteProtocolError, match="1 parts arrived beside"):
        codec().decode_value(body, [b"part"])
    for using in (codec(), codec(trust_peer_completely=True)):
        refused(b"\x97", RemoteProtocolError, "pickled message", using)


# What listed classes cannot be made to do

CLASS = named(Order)
MISUSES = {
    "changing a class by slots": CLASS + b"N}\x8c\x05totalK\x01s\x86b",
    "changing a class by attributes": CLASS + b"}\x8c\x05totalK\x01sb",
    "filling a class": CLASS + b"K\x01a",
    "changing an enum's member": named(Color) + b"K\x01\x85R}\x8c\x07_value_K\x05sb",
    "a state for a list": b"]}\x8c\x01aK\x01sb",
    "a second state": named(Factory) + b")\x81}\x8c\x01aK\x01sb}\x8c\x01aK\x02sb",
    "calling an object": named(Callable_) + b")\x81)R",
    "calling a number": b"K\x01)R",
    "calling with a list": named(Factory) + b"]R",
    "making with a number": named(Factory) + b"K\x01\x81",
    "making with keywords that are none": named(Factory) + b")K\x01\x92",
    "filling a tuple": b")K\x01a",
    "filling a bytearray": b"\x96" + bytes(8) + b"K\x01a",
}


@pytest.mark.parametrize("what", MISUSES)
def test_misuse_of_what_is_listed_is_refused(what: str) -> None:
    refused(MISUSES[what], RemoteProtocolError, "a pickled message")
    assert Order.total(Order(1, [1])) == 1 and Color.RED.value == 1 and Callable_.called == []


@pytest.mark.parametrize("name", ["__class__", "__dict__", "__setstate__", "check", "__reduce_ex__"])
def test_state_cannot_hide_methods_or_change_the_class(name: str) -> None:
    start = named(Factory) + b")\x81"
    for state in (b"}" + text(name) + named(Order) + b"s", b"N}" + text(name) + named(Order) + b"s\x86"):
        refused(start + state + b"b", SerializationError, "may not")
    assert type(codec(LISTED).decode_value(b"\x80\x05" + start + b"}\x8c\x05limitK\x01sb.")) is Factory


@pytest.mark.parametrize("state", [b"K\x01", b"]", b"K\x01K\x02\x86", b"}K\x01K\x02s", b"}C\x01aK\x02s"], ids=repr)
def test_state_that_is_none_is_refused(state: bytes) -> None:
    refused(named(Factory) + b")\x81" + state + b"b", SerializationError, "Factory does not fit")


def test_listed_function_is_called_but_does_not_make_objects() -> None:
    using = codec([("builtins", "len")])
    assert using.decode_value(b"\x80\x05" + named(len) + b"](K\x01K\x02e\x85R.") == 2
    refused(named(len) + b")\x81", RemoteProtocolError, "no class", using)


def test_error_of_a_listed_class_is_a_serialization_error() -> None:
    refused(named(decimal.Decimal) + b"\x8c\x03abc\x85R", SerializationError, "does not fit decimal.Decimal")
    refused(named(Order) + b")R", SerializationError, "does not fit .*Order")


# Bombs


def bomb(body: bytes, match: str, using: PickleCodec | None = None) -> None:
    """See that a body is refused in little memory."""
    tracemalloc.start()
    try:
        refused(body, RemoteProtocolError, match, using)
        assert tracemalloc.get_traced_memory()[1] < 8_000_000 + 3 * len(body)
    finally:
        tracemalloc.stop()


LENGTHS = [b"\x8d", b"\x8e", b"\x96", b"X", b"B", b"\x8b", b"\x8a", b"\x8c", b"C", b"\x95"]


@pytest.mark.parametrize("operation", LENGTHS, ids=repr)
@pytest.mark.parametrize("width", [1, 4, 8])
def test_length_that_lies_is_refused_without_memory(operation: bytes, width: int) -> None:
    bomb(operation + (b"\xff" * (width - 1) + b"\x7f").ljust(8, b"\x00") + b"x" * 20, "bytes|frame|operation")


def test_index_of_a_memo_costs_nothing() -> None:
    bomb(b"Nr\xff\xff\xff\x7f", "operation 0x72")
    bomb(b"Nq\xff", "operation 0x71")
    bomb(b"N\x94j\xff\xff\xff\x7f", "refers to value 2147483647 of 1")
    bomb(b"h\x00", "refers to value 0 of 0")


@pytest.mark.parametrize("what", [b"]", b"]\x94", b"}", b"\x8f", b"(", b"N", b"N\x94", b"(N1", b"N0"], ids=repr)
def test_values_are_counted(what: bytes) -> None:
    small = codec(limits=CodecLimits(max_items=1000))
    bomb(what * 2000, r"more than 1000 values.*\(max_items\)", small)


def test_shared_values_are_counted_too() -> None:
    small = codec(limits=CodecLimits(max_items=1000))
    bomb(b"]\x94(" + b"h\x00" * 2000 + b"e", "more than 1000 values", small)


DEEP = {
    "lists": b"]" * 5000 + b"a" * 4999, "tuples": b")" + b"\x85" * 5000,
    "dicts": b"}" + b"K\x01}" * 4000 + b"s" * 4000,
    "objects": named(Bag) + b"\x94)\x81" + b"h\x00)\x81" * 3000 + b"a" * 3000,
}  # fmt: skip


@pytest.mark.parametrize("what", ["lists", "tuples", "dicts", "objects"])
def test_levels_are_counted(what: str) -> None:
    bomb(DEEP[what], rf"levels deep, limit is {MAX_LEVELS}")


def test_levels_that_pickle_writes_are_taken() -> None:
    value: Any = ()
    for level in range(200):
        value = (value, level) if level % 2 else [value]
    assert codec().decode_value(*codec().encode_value(value)) == value


def shared_tuple(levels: int) -> bytes:
    """A tuple of two, both of which are one tuple of two, and so on; nothing is left but value `levels`."""
    doubled = b"".join(b"h" + bytes([n]) + b"h" + bytes([n]) + b"\x86\x94" for n in range(levels))
    return b")\x94" + doubled + b"0" * (levels + 1)


def test_tuples_that_share_without_end_are_refused_before_they_are_hashed() -> None:
    bomb(shared_tuple(60), r"stands for \d+ values, since it shares them")
    bomb(shared_tuple(15) + b"(" + b"}h\x0fNs" * 400 + b"t", "keys in a pickled message stand for")
    bomb(shared_tuple(15) + b"(" + b"h\x0f" * 400 + b"\x91", "keys in a pickled message stand for")


def colliding(count: int) -> list[int]:
    return [(2**61 - 1) * n for n in range(1, count + 1)]


COLLIDING: dict[str, Callable[[], Any]] = {
    "dict": lambda: dict.fromkeys(colliding(3000)),
    "set": lambda: set(colliding(3000)),
    "frozenset": lambda: frozenset(colliding(3000)),
    "tuples": lambda: dict.fromkeys((n, "x") for n in colliding(3000)),
    "many dicts": lambda: [dict.fromkeys(colliding(900)) for _ in range(3)],
    "an ordered dict": lambda: collections.OrderedDict.fromkeys(colliding(3000)),
}


@pytest.mark.parametrize("what", COLLIDING)
def test_keys_chosen_to_collide_are_refused(what: str) -> None:
    body, _ = codec().encode_value(COLLIDING[what]())
    with pytest.raises(RemoteProtocolError, match="max_colliding_keys"):
        codec(LISTED).decode_value(body)


def test_keys_that_come_one_by_one_are_counted_too() -> None:
    pairs = [pickle.dumps(n, 5)[2:-1] + b"Ns" for n in colliding(3000)]
    refused(b"}" + b"".join(pairs), RemoteProtocolError, "max_colliding_keys")


def test_honest_keys_are_taken() -> None:
    value = {(n, n + 1): {n, -n, float(n)} for n in range(5000)}
    assert codec().decode_value(*codec().encode_value(value)) == value


def test_large_ints_are_bounded() -> None:
    body, _ = codec().encode_value(10**5000)
    with pytest.raises(RemoteProtocolError, match="max_bigint_digits"):
        codec().decode_value(body)


BROKEN = [b"", b"N" * 2, b"(N", b"a", b"]a", b"(", b"1", b"0", b"\x85", b"\x86", b"t", b"u", b"}(Nu",
b"}(K\x01u", b"s",
          b"\x93", b"NN\x93", b"R", b"b", b"Q", b"\x94", b"\x8c\x02\xff\xfe", b"K", b"J\x01", b"G\x01", b"].N",
          b"N.",
          b"}]Ns", b"](]\x90"]  # fmt: skip


@pytest.mark.parametrize("body", BROKEN, ids=repr)
@pytest.mark.parametrize("trusting", [False, True])
def test_broken_body_is_an_error_of_gpyro(body: bytes, trusting: bool) -> None:
    using = codec(trust_peer_completely=True) if trusting else codec(LISTED)
    try:
        using.decode_value(b"\x80\x05" + body + b".")
        assert trusting  # Python's unpickler ignores what is left over
    except PyroError:
        pass
    with pytest.raises(PyroError):
        using.decode_value(b"\x80\x05" + body.rstrip(b".N"))


ARGUMENTS: list[Any] = [None, [], (), ((),), ((), {}, 1), [(), {}], ([], {}), ((), []), ((), {1: 2}), ({}, ())]


@pytest.mark.parametrize("value", ARGUMENTS, ids=repr)
def test_arguments_that_are_none_are_refused(value: Any) -> None:
    body, _ = codec().encode_value(value)
    with pytest.raises(RemoteProtocolError, match="pickled arguments are"):
        codec().decode_arguments(body)


def test_trusting_codec_imports_and_says_what_is_missing() -> None:
    using = codec(trust_peer_completely=True)
    assert using.decode_value(b"\x80\x05\x8c\x02os\x8c\x06system\x93.") is os.system
    for module, name in (("no_such_module", "x"), ("os", "no_such_name")):
        refused(text(module) + text(name) + b"\x93", NoModuleError, "names what is not here", using)
