"""Classes that travel by value: what is registered arrives as itself, what does not fit is refused."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import enum
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import attrs
import ormsgpack
import pytest

from gpyro._serializers import registry
from gpyro.errors import NoModuleError, PyroError, RemoteProtocolError, SerializationError, URIError
from gpyro.serializers import Codec, is_registered, register

CODEC = Codec()


def there(value: Any) -> Any:
    """Return a value after its way to the other side."""
    return CODEC.decode_value(*CODEC.encode_value(value))


def forged(name: Any, state: Any) -> bytes:
    """Return the body that a peer of bad will, or of another version, sends for an object."""
    payload, _ = CODEC.encode_value([name, state])
    return ormsgpack.packb(ormsgpack.Ext(40, payload))


@pytest.fixture(autouse=True)
def restore_registry() -> Iterator[None]:
    tables: tuple[dict[Any, Any], ...] = (
        registry.BY_CLASS,
        registry.BY_NAME,
        registry.EXCEPTIONS,
        registry.EXCEPTION_NAMES,
    )
    saved = [dict(table) for table in tables]
    yield
    for table, before in zip(tables, saved, strict=True):
        table.clear()
        table.update(before)


calls: list[str] = []


@register
@dataclasses.dataclass
class Point:
    x: int
    y: float = 2.5
    tags: list[str] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        calls.append("__post_init__")


@register
@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Frozen:
    a: int
    b: tuple[int, ...] = ()


@register
@dataclasses.dataclass(kw_only=True)
class Odd:
    given: int
    made: str = dataclasses.field(init=False)
    seen: int = dataclasses.field(init=False, default=7)
    start: dataclasses.InitVar[int] = 0

    def __post_init__(self, start: int) -> None:
        self.made = f"made {start}"


@register
@dataclasses.dataclass
class Guarded:
    """A dataclass whose field is a property of the class."""

    level: int

    @property  # type: ignore[no-redef]
    def level(self) -> int:
        return self._level

    @level.setter
    def level(self, value: int) -> None:
        self._level = int(value)


@register
@attrs.define
class Slotted:
    a: int
    b: list[int] = attrs.Factory(list)
    c: int = attrs.field(default=attrs.Factory(lambda self: self.a + 1, takes_self=True))


@register
@attrs.frozen(slots=False)
class Loose:
    a: Any = 5


@register
class Plain:
    def __init__(self) -> None:
        calls.append("__init__")
        self.public = 1
        self._private = (2, 3)
        self.__mangled = {4}

    def method(self) -> set[int]:
        return self.__mangled


@register
class WithSlots:
    __slots__ = ("__hidden", "a", "unset")

    def __init__(self) -> None:
        self.a = 1
        self.__hidden = 2

    def hidden(self) -> int:
        return self.__hidden


@register
class SlotsAndDict(WithSlots):
    def __init__(self) -> None:
        super().__init__()
        self.extra = "x"


@register
class Color(enum.Enum):
    RED = object()
    GREEN = 2
    ALIAS = 2


@register
class Number(enum.IntEnum):
    ONE = 1


@register
class Word(str, enum.Enum):
    HELLO = "hello"


@register
class Access(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()


@register
class Mask(enum.IntFlag):
    A = 1
    B = 2


@register
class Pair(NamedTuple):
    left: Any
    right: int = 0


Old: Any = register(collections.namedtuple("Old", "a b"))


@register
class Text(str):
    note: str


@register
class Int(int):
    pass


@register
class Real(float):
    pass


@register
class Raw(bytes):
    pass


@register
class Growing(bytearray):
    pass


@register
class Row(list):  # type: ignore[type-arg]
    name: str

    def __init__(self, *args: Any) -> None:
        raise AssertionError("a list's __init__ ran")

    def append(self, value: Any) -> None:
        raise AssertionError("the subclass's own append ran")


@register
class Table(dict):  # type: ignore[type-arg]
    def __setitem__(self, key: Any, value: Any) -> None:
        raise AssertionError("the subclass's own __setitem__ ran")


@register
class Sequence(collections.OrderedDict):  # type: ignore[type-arg]
    pass


@register
class Bag(collections.Counter):  # type: ignore[type-arg]
    pass


@register
class Group(set):  # type: ignore[type-arg]
    pass


@register
class FixedGroup(frozenset):  # type: ignore[type-arg]
    pass


@register
class Triple(tuple):  # type: ignore[type-arg]
    pass


def row() -> Row:
    value = Row.__new__(Row)
    list.extend(value, [1, (2,)])
    value.name = "r"
    return value


def noted() -> Text:
    value = Text("text")
    value.note = "n"
    return value


SUBCLASSES: list[Any] = [
    noted(), Int(2**80), Int(5), Real("-0.0"), Raw(b"x"), Raw(b"y" * 9000), Growing(b"g"), row(),
    Table({1: 2, "a": (3,)}), Sequence([("b", 1), (2, "a")]), Bag("aab"), Group({1, (2,)}), FixedGroup({1}),
    Triple((1, [2])),
]  # fmt: skip


@pytest.mark.parametrize("value", SUBCLASSES, ids=lambda value: type(value).__name__)
def test_subclass_of_a_builtin_arrives_with_its_attributes(value: Any) -> None:
    for arrived in (there(value), there([value])[0], there((value,))[0], there({5: value})[5]):
        assert type(arrived) is type(value)
        assert arrived == value
        assert vars(arrived) == vars(value)


def test_ordered_dict_subclass_keeps_a_changed_order() -> None:
    value = Sequence([("a", 1), ("b", 2)])
    value.move_to_end("a")
    assert [*there(value)] == ["b", "a"]


@pytest.mark.parametrize(
    "value",
    [
        Point(1), Point(2, float("inf"), ["t"]), Frozen(1, (2, 3)), Odd(given=1, start=9), Guarded(3),
        Slotted(1, [2]),
        Loose({1: 2}), Pair("l", 2), Pair(Pair(1)), Old(1, (2,)),
        Color.RED, Color.ALIAS, Number.ONE, Word.HELLO, Access.READ, Access.READ | Access.WRITE, Access(0),
        Mask.A | Mask.B, Mask(64),
    ],
    ids=repr,
)  # fmt: skip
def test_object_of_a_registered_class_arrives_equal(value: Any) -> None:
    for arrived in (there(value), there([value])[0], there((value, 1))[0], there({5: value})[5]):
        assert type(arrived) is type(value)
        assert arrived == value


def test_enum_members_arrive_as_the_very_member() -> None:
    assert there(Color.RED) is Color.RED
    assert there(Color.ALIAS) is Color.GREEN


def test_hashable_objects_arrive_as_keys_and_in_sets() -> None:
    value = {Frozen(1): 1, Color.RED: 2, Pair(1, 2): 3}
    assert there(value) == value
    assert there({Frozen(1), Number.ONE}) == {Frozen(1), Number.ONE}


def test_neither_init_nor_post_init_runs_at_the_receiver() -> None:
    values = [Point(1), Plain()]
    calls.clear()
    there(values)
    assert calls == []


def test_plain_object_arrives_with_all_its_attributes() -> None:
    arrived = there(Plain())
    assert (arrived.public, arrived._private, arrived.method()) == (1, (2, 3), {4})


def test_slots_arrive_and_unset_ones_stay_unset() -> None:
    for value in (WithSlots(), SlotsAndDict()):
        arrived = there(value)
        assert (arrived.a, arrived.hidden(), hasattr(arrived, "unset")) == (1, 2, False)
    assert there(SlotsAndDict()).extra == "x"


def test_field_without_a_value_stays_without() -> None:
    value = Odd(given=1)
    del value.made
    arrived = there(value)
    assert arrived.given == 1
    assert not hasattr(arrived, "made")


def test_attributes_that_are_no_fields_do_not_travel() -> None:
    value = Point(1)
    value.cache = object()  # type: ignore[attr-defined]
    assert vars(there(value)) == {"x": 1, "y": 2.5, "tags": []}


def test_class_inside_a_class_and_large_bytes_in_a_field() -> None:
    value = Point(Point(1, 2, ["a"]), 1, [b"x" * 90_000])  # type: ignore[arg-type, list-item]
    body, parts = CODEC.encode_value(value)
    assert len(parts) == 1
    assert CODEC.decode_value(body, parts) == value


# What a peer of another version, or of bad will, sends


def name_of(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def test_field_that_the_peer_does_not_know_gets_its_default() -> None:
    assert CODEC.decode_value(forged(name_of(Point), {"x": 1}), ()) == Point(1, 2.5, [])
    assert CODEC.decode_value(forged(name_of(Slotted), {"a": 4}), ()) == Slotted(4, [], 5)
    assert CODEC.decode_value(forged(name_of(Loose), {}), ()) == Loose(5)


@pytest.mark.parametrize(
    ("cls", "state"),
    [
        (Point, {"y": 1}), (Slotted, {}), (Point, {"x": 1, "unknown": 2}), (Point, [1]), (Point, None),
        (Point, {1: 2}),
        (Point, {"__class__": 1}),
        (Frozen, {"a": 1, "__dict__": {}}), (Guarded, {"level": "no number"}), (Slotted, {"a": 1, "z": 1}),
        (Plain, {"__class__": 1}), (Plain, {"method": 1}), (Plain, {1: 1}), (Plain, [1]),
        (Plain, {"__dict__": {}}),
        (WithSlots, {"b": 1}), (WithSlots, {"hidden": 1}),
        (Color, "BLUE"), (Color, 2), (Color, None), (Color, "__class__"), (Access, "X"), (Access, 1.0),
        (Word, ["HELLO"]),
        (Pair, [1]), (Pair, [1, 2, 3]), (Pair, {"left": 1}), (Pair, "ab"),
        (Text, "x"), (Text, [1, {}]), (Text, ["x", {}, 1]), (Text, ["x", {"upper": 1}]), (Text, ["x", None]),
        (Row, [(1,), {}]), (Table, [[1], {}]), (Growing, [1, {}]), (Int, [1.5, {}]), (Group, [[1], {}]),
    ],
    ids=str,
)  # fmt: skip
def test_state_that_does_not_fit_is_refused(cls: type, state: Any) -> None:
    with pytest.raises(SerializationError, match=f"a .*{cls.__name__} arrived that does not fit"):
        CODEC.decode_value(forged(name_of(cls), state), ())


def test_name_that_is_not_registered_is_refused_and_named() -> None:
    for name in ("os.system", "builtins.eval", "subprocess.Popen", "x" * 10_000, ""):
        with pytest.raises(NoModuleError, match=r"gpyro\.register"):
            CODEC.decode_value(forged(name, ["true"]), ())
    for odd in (5, None, ["a"], {"a": 1}, ("os", "system")):
        with pytest.raises(PyroError):
            CODEC.decode_value(forged(odd, 1), ())
    with pytest.raises(RemoteProtocolError):
        CODEC.decode_value(ormsgpack.packb(ormsgpack.Ext(40, ormsgpack.packb([name_of(Point)]))), ())


def test_object_of_a_class_that_only_the_sender_has_registered_is_named() -> None:
    body, parts = CODEC.encode_value(Point(1))
    del registry.BY_NAME[name_of(Point)]
    with pytest.raises(NoModuleError, match=r"Point"):
        CODEC.decode_value(body, parts)


# Registering


def test_register_is_a_function_and_a_decorator_with_and_without_arguments() -> None:
    class First:
        pass

    @register
    class Second:
        pass

    @register(name="third")
    class Third:
        pass

    assert register(First) is First
    for cls in (First, Second, Third):
        assert is_registered(cls)
        assert type(there(cls())) is cls
    assert b"third" in CODEC.encode_value(Third())[0]


def test_only_exactly_the_registered_class_travels() -> None:
    class Child(Point):
        pass

    assert not is_registered(Child)
    with pytest.raises(SerializationError, match=r"gpyro\.register\(.*Child\)"):
        CODEC.encode_value(Child(1))
    assert type(there(Point(1))) is Point
    register(Child)
    assert type(there(Child(1))) is Child


def test_to_state_and_from_state_decide_what_travels() -> None:
    class Celsius:
        def __init__(self, degrees: float) -> None:
            self.degrees = degrees

    register(Celsius, name="celsius", to_state=lambda c: (c.degrees, {1}), from_state=lambda s: Celsius(s[0]))
    assert there(Celsius(5)).degrees == 5
    assert there([Celsius(5), (Celsius(6),)])[1][0].degrees == 6
    assert there({1: Celsius(7)})[1].degrees == 7


def test_classes_of_the_standard_library_can_be_given_a_state() -> None:
    class Stamp(datetime.datetime):
        pass

    with pytest.raises(TypeError, match="give to_state and from_state"):
        register(Stamp)
    register(Stamp, to_state=lambda s: s.isoformat(), from_state=Stamp.fromisoformat)
    assert there(Stamp(2026, 1, 1)) == Stamp(2026, 1, 1)
    assert type(there(Stamp(2026, 1, 1))) is Stamp


def test_errors_of_to_state_and_from_state_are_wrapped() -> None:
    class Stubborn:
        pass

    def refuse(value: Any) -> Any:
        raise LookupError("not today")

    def refuse_uri(value: Any) -> Any:
        raise URIError("no address")

    register(Stubborn, to_state=refuse, from_state=refuse)
    with pytest.raises(
        SerializationError, match=r"result -> \[0\]: taking apart .* failed: LookupError"
    ) as caught:
        CODEC.encode_value([Stubborn()])
    assert isinstance(caught.value.__cause__, LookupError)
    register(Stubborn, to_state=lambda _: 1, from_state=refuse)
    body, parts = CODEC.encode_value(Stubborn())
    with pytest.raises(SerializationError, match="does not fit: LookupError") as caught:
        CODEC.decode_value(body, parts)
    assert isinstance(caught.value.__cause__, LookupError)
    register(Stubborn, to_state=lambda _: 1, from_state=refuse_uri)
    with pytest.raises(URIError, match="no address"):
        CODEC.decode_value(body, parts)


def test_what_ends_a_program_or_a_greenlet_passes_through_user_code() -> None:
    class Killed(BaseException):
        pass

    class Waiting:
        pass

    def kill(value: Any) -> Any:
        raise Killed

    register(Waiting, to_state=kill, from_state=kill)
    with pytest.raises(Killed):
        CODEC.encode_arguments((Waiting(),), None)
    register(Waiting, to_state=lambda _: 1, from_state=kill)
    body, parts = CODEC.encode_value((Waiting(),))
    with pytest.raises(Killed):
        CODEC.decode_value(body, parts)


def test_interrupt_in_the_fast_pass_is_not_swallowed() -> None:
    class Interrupting:
        @property
        def field(self) -> int:
            raise KeyboardInterrupt

    def state(value: Any) -> Any:
        return value.field

    registry._store(registry.Entry(Interrupting, "i", state, state, False))
    with pytest.raises(KeyboardInterrupt):
        CODEC.encode_value(Interrupting())
    assert there(1) == 1


def test_one_codec_can_be_used_from_within_to_state_and_from_state() -> None:
    class Box:
        def __init__(self, content: Any) -> None:
            self.content = content

    codec = CODEC
    register(
        Box,
        to_state=lambda box: codec.encode_value(box.content)[0],
        from_state=lambda body: Box(codec.decode_value(body, ())),
    )
    value = Box((1, Box({2: Box("inner")})))
    arrived = there([value, b"x" * 5000, (value,)])
    assert arrived[0].content[1].content[2].content == "inner"
    assert arrived[1] == b"x" * 5000


def test_endless_to_state_ends_with_an_error() -> None:
    class Endless:
        pass

    register(Endless, to_state=lambda _: Endless(), from_state=lambda state: state)
    with pytest.raises(SerializationError, match="max_depth"):
        CODEC.encode_value(Endless())


@pytest.mark.parametrize(
    ("register_it", "error"),
    [
        (lambda: register(5), TypeError),  # type: ignore[call-overload]
        (lambda: register(object), TypeError),
        (lambda: register(int), TypeError),
        (lambda: register(dict), TypeError),
        (lambda: register(Point, to_state=str), TypeError),
        (lambda: register(Point, from_state=str), TypeError),
        (lambda: register(KeyboardInterrupt), TypeError),
        (lambda: register(threading.Thread, name=name_of(Point)), ValueError),
        (lambda: register(KeyError, name=name_of(Point)), ValueError),
        (lambda: register(Plain, name="builtins.KeyError"), ValueError),
        (lambda: register(type("Zone", (datetime.tzinfo,), {})), TypeError),
    ],
)
def test_what_cannot_be_registered_is_refused(register_it: Callable[[], Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        register_it()


def test_module_that_is_loaded_again_may_register_its_class_again() -> None:
    again = type("Plain", (), {"__module__": Plain.__module__, "__qualname__": Plain.__qualname__})
    register(again)
    assert type(there(again())) is again
    register(again)


def test_is_registered_knows_exceptions() -> None:
    class Late(Exception):
        pass

    assert not is_registered(Late)
    register(Late)
    assert is_registered(Late)
    assert is_registered(ValueError)
    assert is_registered(URIError)
    assert not is_registered(int)


def test_repr_of_an_entry_tells_name_and_class() -> None:
    assert repr(registry.BY_CLASS[Point]).startswith(f"<Entry '{name_of(Point)}' for <class")
